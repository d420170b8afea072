# Reads `objdump -d --insn-width=16` of an archive or a linked file. Prints for each member the number of instructions
# that not every x86-64 CPU has, as "member count", and the first three as "# member function: instruction".
#
# Recognizes such instructions by their bytes, because names follow no rule: shlx has a VEX encoding, verr does not.
# After prefixes come:
#     c4, c5, 62              VEX and EVEX: AVX, AVX-512, FMA, BMI; in 64-bit mode nothing else begins with them
#     0f 38, 0f 3a            SSSE3, SSE4, AES, MOVBE
#     f2 or f3 and 0f 12, 0f 16, 0f b8, 0f bd, 0f f0; 66 or f2 and 0f 7c, 0f 7d, 0f d0    SSE3, POPCNT, LZCNT
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
