# cmake -DBUILD=<build tree> -DEXAMPLE=<examples/cpp> -DWORK=<directory> -DGENERATOR=... -DCOMPILER=... -P consumer.cmake
#
# Checks that another project finds an installed pointwise, builds against it and gets the right results.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${result}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --component cpp)
run(${CMAKE_COMMAND} -S ${EXAMPLE} -B ${WORK}/build -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${WORK}/prefix
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/example)
if(NOT output MATCHES "^12 0 24 0\n")
  message(FATAL_ERROR "the example printed: ${output}")
endif()
