# Warnings and sanitizers for this project's own targets; torch's headers are system headers to them.
function(torch_ebm_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra)
  if(TORCH_EBM_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(TORCH_EBM_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TORCH_EBM_SANITIZE} -fno-omit-frame-pointer)
    # GCC finds these in torch's inline functions once they are instrumented.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    target_link_options(${target} PRIVATE -fsanitize=${TORCH_EBM_SANITIZE})
  endif()
endfunction()
