"""The command line."""


def main() -> int:
    """Run the command line."""
    raise SystemExit("not built yet")


if __name__ == "__main__":
    main()
