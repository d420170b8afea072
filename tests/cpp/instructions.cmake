# cmake -DOBJDUMP=objdump -DARCHIVE=libpointwise.a [-DLINKED=program] -P instructions.cmake
#
# Checks that every x86-64 CPU can run pointwise. Only kernel files of wider instruction sets may contain instructions
# beyond SSE2, because the CPU is checked before these kernels run.
#
# LINKED is a program or library that is linked with the archive. It must have exactly as many wide instructions as the
# kernel files. Then no wide instruction comes from its own code, from a library, or from an inline function that was
# compiled twice.
if(NOT DEFINED AWK)
  set(AWK awk)
endif()

function(count_wide file counts notes)
  execute_process(
    COMMAND ${OBJDUMP} -d --insn-width=16 ${file}
    COMMAND ${AWK} -f ${CMAKE_CURRENT_LIST_DIR}/wide_instructions.awk
    OUTPUT_VARIABLE found ERROR_VARIABLE error RESULTS_VARIABLE results)
  if(NOT results STREQUAL "0;0")
    message(FATAL_ERROR "objdump and awk on ${file}: ${results}\n${error}")
  endif()
  string(REGEX MATCHALL "# [^\n]+" said "${found}")
  string(REGEX REPLACE "# [^\n]+\n" "" found "${found}")
  string(REGEX MATCHALL "[^\n]+" found "${found}")
  set(${counts} "${found}" PARENT_SCOPE)
  set(${notes} "${said}" PARENT_SCOPE)
endfunction()

count_wide(${ARCHIVE} members notes)
set(wide 0)
set(kernels 0)
foreach(member IN LISTS members)
  string(REGEX MATCH "^(.*) ([0-9]+)$" all "${member}")
  set(name ${CMAKE_MATCH_1})
  set(count ${CMAKE_MATCH_2})
  if(name MATCHES "^avx[0-9]+(vnni)?_[bfi]+[0-9]+\\.cpp\\.")
    math(EXPR kernels "${kernels} + 1")
    math(EXPR wide "${wide} + ${count}")
    if(count EQUAL 0)
      message(SEND_ERROR "${name}: expected instructions beyond SSE2, as in all kernel files, found none")
    endif()
  elseif(NOT count EQUAL 0)
    set(text ${notes})
    list(FILTER text INCLUDE REGEX "^# ${name} ")
    list(JOIN text "\n" text)
    message(SEND_ERROR "${name}: ${count} instructions that not every x86-64 has:\n${text}")
  endif()
endforeach()
if(kernels LESS 2)
  message(FATAL_ERROR "found only ${kernels} kernel files with their own instruction sets in ${ARCHIVE}: ${members}")
endif()
message(STATUS "${ARCHIVE}: ${wide} instructions beyond SSE2, all in ${kernels} kernel files")

if(DEFINED LINKED)
  count_wide(${LINKED} counts notes)
  string(REGEX MATCH "[0-9]+$" count "${counts}")
  if(NOT count EQUAL wide)
    message(SEND_ERROR "${LINKED}: expected ${wide} instructions beyond SSE2, as in the kernels of ${ARCHIVE}, found ${count}")
  endif()
  message(STATUS "${LINKED}: ${count}")
endif()
