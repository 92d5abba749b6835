# hydrogen_add_application(NAME SOURCES...): builds libNAME.so, an application that `hydrogen run NAME` can load.
# Hidden visibility and -fno-gnu-unique keep two applications in one process apart; the build-id names the build.
function(hydrogen_add_application name)
  add_library(${name} SHARED ${ARGN})
  target_link_libraries(${name} PRIVATE hydrogen)
  target_compile_options(${name} PRIVATE -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique)
  target_link_options(${name} PRIVATE -Wl,--build-id=sha1 -Wl,--no-undefined)
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/hydrogen)
endfunction()
