# Reads the output of `objdump -dC --no-show-raw-insn` for a kernel file. Looks at the innermost loops with at least four
# multiply-adds or dot products in the functions of tiles (`..._column<...>`). Prints a line "FUNCTION: INSTRUCTION" for each vector that
# such a loop stores on the stack, and at the end a line with the number of loops.
#
# A loop is a jump back to an earlier address of the function. It is innermost if no other loop lies within it.
function end_of_function(  i, j, k, fmas, inner) {
  for (i = 0; i < jumps; ++i) {
    inner = 1
    for (j = 0; j < jumps; ++j)
      if (j != i && from[j] >= from[i] && to[j] <= to[i]) inner = 0
    if (!inner) continue
    fmas = 0
    for (k = from[i]; k <= to[i]; ++k)
      fmas += text[k] ~ /^({vex} )?(vfn?m(add|sub)|vdpbf16ps|vpdp(bus|wss)d|vpmaddwd)/
    if (fmas < 4) continue
    ++loops
    for (k = from[i]; k <= to[i]; ++k)
      if (text[k] ~ /^vmov(dq)?[au](p[sd]|32|64)? +%[xyz]mm[0-9]+(,|.*,)-?(0x[0-9a-f]+)?\(%rsp/ ||
          text[k] ~ /^vmov(dq)?[au](p[sd]|32|64)? +%[xyz]mm[0-9]+,-0x[0-9a-f]+\(%rbp\)/)
        print name ": " text[k]
  }
}
/^[0-9a-f]+ <.*>:$/ {
  if (checked) end_of_function()
  name = $0
  sub(/^[0-9a-f]+ </, "", name)
  checked = name ~ /_column</
  count = jumps = 0
  delete at
  next
}
checked && /^ +[0-9a-f]+:\t/ {
  address = $1
  sub(/:$/, "", address)
  line = $0
  sub(/^[^\t]*\t/, "", line)
  at[address] = count
  text[count] = line
  if (line ~ /^j[a-z]+ /) {
    split(line, words, / +/)
    if (words[2] in at) {
      from[jumps] = at[words[2]]
      to[jumps++] = count
    }
  }
  ++count
}
END {
  if (checked) end_of_function()
  print "loops " loops + 0
}
