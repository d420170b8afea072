# cmake -DOBJDUMP=objdump -DAWK=awk -DOBJECTS=a.o|b.o -P spills.cmake
#
# Checks that tiles keep their accumulators in registers. A vector that the loop over input channels stores on the stack
# is a spilled accumulator. A spill makes the loop several times slower. Another compiler or a small change of the code
# may cause a spill.
string(REPLACE "|" ";" objects "${OBJECTS}")
set(checked 0)
foreach(object IN LISTS objects)
  if(NOT object MATCHES "/kernels/x86/([a-z0-9]+_[a-z0-9]+)\\.cpp\\.")
    continue()
  endif()
  set(table ${CMAKE_MATCH_1})
  execute_process(
    COMMAND ${OBJDUMP} -dC --no-show-raw-insn ${object}
    COMMAND ${AWK} -f ${CMAKE_CURRENT_LIST_DIR}/spills.awk
    OUTPUT_VARIABLE found ERROR_VARIABLE error RESULTS_VARIABLE results)
  if(NOT results STREQUAL "0;0" OR NOT found MATCHES "loops ([0-9]+)\n$")
    message(FATAL_ERROR "objdump and awk on ${object}: ${results}\n${error}")
  endif()
  set(loops ${CMAKE_MATCH_1})
  if(loops LESS 10)
    message(SEND_ERROR "${table}: expected at least 10 loops with multiply-adds, found ${loops}")
  endif()
  string(REGEX REPLACE "loops [0-9]+\n$" "" found "${found}")
  if(NOT found STREQUAL "")
    message(SEND_ERROR "${table}: loops store vectors on the stack:\n${found}")
  endif()
  math(EXPR checked "${checked} + 1")
  message(STATUS "${table}: ${loops} loops")
endforeach()
if(checked LESS 2)
  message(FATAL_ERROR "only ${checked} kernel files among ${OBJECTS}")
endif()
