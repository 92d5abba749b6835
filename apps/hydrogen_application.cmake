# hydrogen_add_application(NAME SOURCES... [DATA FILES...]): builds libNAME.so, an application that `hydrogen run NAME` can
# load, and puts the DATA files beside it.
# Hidden visibility and -fno-gnu-unique keep two applications in one process apart; the build-id names the build.
function(hydrogen_add_application name)
  cmake_parse_arguments(PARSE_ARGV 1 app "" "" "DATA")
  set(folder ${CMAKE_BINARY_DIR}/lib/hydrogen)
  add_library(${name} SHARED ${app_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE hydrogen)
  target_compile_options(${name} PRIVATE -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique)
  target_link_options(${name} PRIVATE -Wl,--build-id=sha1 -Wl,--no-undefined)
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${folder})
  foreach(file IN LISTS app_DATA)
    get_filename_component(file_name ${file} NAME)
    configure_file(${file} ${folder}/${file_name} COPYONLY)
  endforeach()
endfunction()
