# Reads the output of `objdump -d --insn-width=16` for an archive or a linked file. For each member, counts the
# instructions that not every x86-64 CPU has. Prints one line "MEMBER COUNT" for each member. Before this line, prints a
# line "# MEMBER FUNCTION: INSTRUCTION" for each of the first three such instructions of the member.
#
# Recognizes such instructions by their bytes. Their names are no guide: the names of most VEX instructions begin with
# "v". But shlx is a VEX instruction, and verr is not. After its prefixes, such an instruction begins with one of these
# byte sequences:
#     c4, c5, 62              VEX and EVEX: AVX, AVX-512, FMA, BMI; no other instruction of 64-bit mode begins with them
#     0f 38, 0f 3a            SSSE3, SSE4, AES, MOVBE
#     0f 12, 0f 16, 0f b8, 0f bd, 0f f0, if f2 or f3 is among the prefixes: SSE3, POPCNT, LZCNT
#     0f 7c, 0f 7d, 0f d0, if 66 or f2 is among the prefixes: SSE3
BEGIN { FS = "\t" }
/file format/ {
  if (member != "") print member, count
  member = $0
  sub(/:[ ]+file format.*/, "", member)
  count = 0
}
/^[0-9a-f]+ <.*>:$/ {
  function_name = $0
  sub(/^[0-9a-f]+ /, "", function_name)
}
NF >= 3 {
  bytes = $2
  mandatory = ""
  while (match(bytes, /^(26|2e|36|3e|64|65|66|67|f2|f3) /)) {
    if (bytes ~ /^(66|f2|f3)/) mandatory = mandatory substr(bytes, 1, 2)
    bytes = substr(bytes, 4)
  }
  vex = bytes ~ /^(c4|c5|62) /
  sub(/^4[0-9a-f] /, "", bytes)  # REX
  if (vex || bytes ~ /^0f (38|3a) / || (mandatory ~ /f[23]/ && bytes ~ /^0f (12|16|b8|bd|f0) /) ||
      (mandatory ~ /66|f2/ && bytes ~ /^0f (7c|7d|d0) /)) {
    if (++count <= 3) print "# " member " " function_name " " $3
  }
}
END { if (member != "") print member, count }
