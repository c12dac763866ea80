; The host's end of a model that runs on a GPU: its context, module, stream and memory, and calls of the driver.
;
; The driver is a table of functions in the order of tfc/runtime/driver_api.py: that which NAME_use_driver gave,
; else that of libcuda.so.1, which is opened when the first instance is made. Both are a pointer that is set
; once. The functions @tfc_cu... (written by cuda.py) call through it.
;
; What an instance has on its GPU is ${words} words, and behind them its kernels:
;
;   0 table     3 module     6 arena     8 staging   10 weights     12 whether each launch is waited for
;   1 context   4 stream     7 capacity  9 capacity  11 variables   13 where graphs are kept   14 bytes of one
;   2 device    5 status                                            15 the next to be replaced 16 whether there are any
;                                                                   17 18 events, where times are taken
;
; Behind the kernels there is room for ${graphs} graphs: of each its handle, whether its key has been seen, the key.
;
; A result of the driver other than 0 becomes a code: -22 and such where there is a text of ours for it, else
; ${error} less the result. What was being done then, and the driver's words, go to the instance's message.

@tfc_driver = internal global ptr null, align 8
@tfc_driver_own = internal global [${count} x ptr] zeroinitializer, align 8
@tfc_driver_library = internal constant [${library_size} x i8] c"${library}\00"
@tfc_driver_names = internal constant [${names_size} x i8] c"${names}"
@tfc_gpu_waits = internal constant [13 x i8] c"TFC_GPU_SYNC\00"
@tfc_gpu_graphs = internal constant [15 x i8] c"TFC_GPU_GRAPHS\00"
@tfc_gpu_format = internal constant [11 x i8] c"%s: %s, %s\00"
@tfc_gpu_unknown = internal constant [30 x i8] c"an error without a known name\00"

declare ptr @dlopen(ptr, i32) nounwind
declare ptr @dlsym(ptr, ptr) nounwind
declare ptr @getenv(ptr) nounwind
declare i64 @strlen(ptr) nounwind
declare i32 @snprintf(ptr, i64, ptr, ...) nounwind
declare ptr @calloc(i64, i64) nounwind
declare ptr @malloc(i64) nounwind
declare void @free(ptr) nounwind
declare ptr @memcpy(ptr, ptr, i64) nounwind
declare i32 @memcmp(ptr, ptr, i64) nounwind

${calls}
; What stands for a function that an older driver lacks: CUDA_ERROR_NOT_SUPPORTED.
define internal i32 @tfc_driver_lacks() nounwind {
  ret i32 801
}

; The table of the driver's functions; null where this machine has no driver. Two threads may both fill it, with
; the same addresses.
define internal ptr @tfc_driver_table() nounwind {
entry:
  %given = load atomic ptr, ptr @tfc_driver acquire, align 8
  %known = icmp ne ptr %given, null
  br i1 %known, label %have, label %look
have:
  ret ptr %given
look:
  %library = call ptr @dlopen(ptr @tfc_driver_library, i32 2)
  %none = icmp eq ptr %library, null
  br i1 %none, label %absent, label %next
absent:
  ret ptr null
next:
  %k = phi i64 [ 0, %look ], [ %k1, %found ]
  %name = phi ptr [ @tfc_driver_names, %look ], [ %after, %found ]
  %length = call i64 @strlen(ptr %name)
  %skip = add i64 %length, 1
  %older = getelementptr i8, ptr %name, i64 %skip
  %older_length = call i64 @strlen(ptr %older)
  %older_skip = add i64 %older_length, 1
  %after = getelementptr i8, ptr %older, i64 %older_skip
  %function = call ptr @dlsym(ptr %library, ptr %name)
  %there = icmp ne ptr %function, null
  %named = icmp ne i64 %older_length, 0
  %either = xor i1 %there, true
  %again = and i1 %either, %named
  br i1 %again, label %retry, label %found
retry:
  %second = call ptr @dlsym(ptr %library, ptr %older)
  br label %found
found:
  %got = phi ptr [ %function, %next ], [ %second, %retry ]
  %lacks = icmp eq ptr %got, null
  %chosen = select i1 %lacks, ptr @tfc_driver_lacks, ptr %got
  %place = getelementptr ptr, ptr @tfc_driver_own, i64 %k
  store ptr %chosen, ptr %place, align 8
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, ${count}
  br i1 %more, label %next, label %done
done:
  store atomic ptr @tfc_driver_own, ptr @tfc_driver release, align 8
  ret ptr @tfc_driver_own
}

define i32 @${name}_use_driver(ptr %table) nounwind {
  store atomic ptr %table, ptr @tfc_driver release, align 8
  ret i32 0
}

; The name that the driver has for the result in a code of ours.
define internal ptr @tfc_gpu_error(i32 %code) nounwind {
entry:
  %out = alloca ptr, align 8
  store ptr null, ptr %out, align 8
  %table = load atomic ptr, ptr @tfc_driver acquire, align 8
  %none = icmp eq ptr %table, null
  br i1 %none, label %unknown, label %ask
ask:
  %result = sub i32 ${error}, %code
  %asked = call i32 @tfc_cuGetErrorName(ptr %table, i32 %result, ptr %out)
  %text = load ptr, ptr %out, align 8
  %empty = icmp eq ptr %text, null
  br i1 %empty, label %unknown, label %tell
tell:
  ret ptr %text
unknown:
  ret ptr @tfc_gpu_unknown
}

; The code of a result.
define internal i32 @tfc_gpu_code(i32 %result) nounwind {
  %good = icmp eq i32 %result, 0
  %full = icmp eq i32 %result, 2                  ; CUDA_ERROR_OUT_OF_MEMORY
  %other = sub i32 ${error}, %result
  %bad = select i1 %full, i32 ${no_gpu_memory}, i32 %other
  %code = select i1 %good, i32 0, i32 %bad
  ret i32 %code
}

; The code of a result; where that is none of success, the message is `what: NAME, words`.
define internal i32 @tfc_gpu_result(ptr %model, i32 %result, ptr %what) nounwind {
entry:
  %name_at = alloca ptr, align 8
  %words_at = alloca ptr, align 8
  %good = icmp eq i32 %result, 0
  br i1 %good, label %fine, label %bad
fine:
  ret i32 0
bad:
  store ptr @tfc_gpu_unknown, ptr %name_at, align 8
  store ptr @tfc_gpu_unknown, ptr %words_at, align 8
  %table = load atomic ptr, ptr @tfc_driver acquire, align 8
  %asked = call i32 @tfc_cuGetErrorName(ptr %table, i32 %result, ptr %name_at)
  %asked2 = call i32 @tfc_cuGetErrorString(ptr %table, i32 %result, ptr %words_at)
  %name = load ptr, ptr %name_at, align 8
  %words = load ptr, ptr %words_at, align 8
  %no_name = icmp eq ptr %name, null
  %no_words = icmp eq ptr %words, null
  %name1 = select i1 %no_name, ptr @tfc_gpu_unknown, ptr %name
  %words1 = select i1 %no_words, ptr @tfc_gpu_unknown, ptr %words
  %a = call i64 @strlen(ptr %what)
  %b = call i64 @strlen(ptr %name1)
  %c = call i64 @strlen(ptr %words1)
  %ab = add i64 %a, %b
  %abc = add i64 %ab, %c
  %room = add i64 %abc, 8
  %place = getelementptr i64, ptr %model, i64 ${message}
  %old = load ptr, ptr %place, align 8
  call void @free(ptr %old)
  %text = call ptr @malloc(i64 %room)
  store ptr %text, ptr %place, align 8
  %none = icmp eq ptr %text, null
  br i1 %none, label %out, label %write
write:
  %written = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %text, i64 %room, ptr @tfc_gpu_format, ptr %what, ptr %name1, ptr %words1)
  br label %out
out:
  %code = call i32 @tfc_gpu_code(i32 %result)
  ret i32 %code
}

; What a word of the environment says: 0 where it begins so, 1 for anything else, %otherwise where there is none.
define internal i64 @tfc_gpu_switch(ptr %name, i64 %otherwise) nounwind {
  %text = call ptr @getenv(ptr %name)
  %none = icmp eq ptr %text, null
  br i1 %none, label %unsaid, label %look
unsaid:
  ret i64 %otherwise
look:
  %first = load i8, ptr %text, align 1
  %off = icmp eq i8 %first, 48
  %said = select i1 %off, i64 0, i64 1
  ret i64 %said
}

; Make what an instance needs: at %out the words, with %kernels functions (their names one after the other) and
; %key bytes for each key. A code where something fails; @tfc_gpu_close takes back what was made by then.
define internal i32 @tfc_gpu_open(ptr %out, i32 %ordinal, i32 %capability, i32 %exact, ptr %ptx, ptr %cubin, ptr %names, i64 %kernels, i64 %key) nounwind {
entry:
  %number = alloca i32, align 4
  %major_at = alloca i32, align 4
  %minor_at = alloca i32, align 4
  %table = call ptr @tfc_driver_table()
  %no_driver = icmp eq ptr %table, null
  br i1 %no_driver, label %leave_driver, label %init
leave_driver:
  ret i32 ${no_driver}
init:
  %r_init = call i32 @tfc_cuInit(ptr %table, i32 0)
  %no_init = icmp ne i32 %r_init, 0
  br i1 %no_init, label %bad_init, label %counted
bad_init:
  %is_none = icmp eq i32 %r_init, 100                   ; CUDA_ERROR_NO_DEVICE
  %other_init = call i32 @tfc_gpu_code(i32 %r_init)
  %code_init = select i1 %is_none, i32 ${no_gpu}, i32 %other_init
  ret i32 %code_init
counted:
  store i32 0, ptr %number, align 4
  %r_count = call i32 @tfc_cuDeviceGetCount(ptr %table, ptr %number)
  %devices = load i32, ptr %number, align 4
  %enough = icmp slt i32 %ordinal, %devices
  br i1 %enough, label %device, label %leave_gpu
leave_gpu:
  ret i32 ${no_gpu}
device:
  %r_device = call i32 @tfc_cuDeviceGet(ptr %table, ptr %number, i32 %ordinal)
  %device_number = load i32, ptr %number, align 4
  store i32 0, ptr %major_at, align 4
  store i32 0, ptr %minor_at, align 4
  %r_major = call i32 @tfc_cuDeviceGetAttribute(ptr %table, ptr %major_at, i32 75, i32 %device_number)
  %r_minor = call i32 @tfc_cuDeviceGetAttribute(ptr %table, ptr %minor_at, i32 76, i32 %device_number)
  %major = load i32, ptr %major_at, align 4
  %minor = load i32, ptr %minor_at, align 4
  %tens = mul i32 %major, 10
  %has = add i32 %tens, %minor
  %older = icmp slt i32 %has, %capability
  %differs = icmp ne i32 %has, %capability
  %is_exact = icmp ne i32 %exact, 0
  %wrong = and i1 %differs, %is_exact
  %unfit = or i1 %older, %wrong
  br i1 %unfit, label %leave_old, label %make
leave_old:
  ret i32 ${old_gpu}
make:
  %per_kernel = mul i64 %kernels, 8
  %stride = add i64 %key, 16
  %per_graph = mul i64 %stride, ${graphs}
  %behind = add i64 %per_kernel, %per_graph
  %size = add i64 %behind, ${bytes}
  %gpu = call ptr @calloc(i64 1, i64 %size)
  store ptr %gpu, ptr %out, align 8
  %no_words = icmp eq ptr %gpu, null
  br i1 %no_words, label %leave_memory, label %retain
leave_memory:
  ret i32 ${no_memory}
retain:
  store ptr %table, ptr %gpu, align 8
  %context_at = getelementptr i64, ptr %gpu, i64 1
  %device_at = getelementptr i64, ptr %gpu, i64 2
  %module_at = getelementptr i64, ptr %gpu, i64 3
  %stream_at = getelementptr i64, ptr %gpu, i64 4
  %status_at = getelementptr i64, ptr %gpu, i64 5
  %waits_at = getelementptr i64, ptr %gpu, i64 12
  store i32 %device_number, ptr %device_at, align 8
  %waits = call i64 @tfc_gpu_switch(ptr @tfc_gpu_waits, i64 0)
  store i64 %waits, ptr %waits_at, align 8
  %graphs = call i64 @tfc_gpu_switch(ptr @tfc_gpu_graphs, i64 1)
  %replays = icmp ne i64 %graphs, 0
  %replays_word = zext i1 %replays to i64
  %replays_at = getelementptr i64, ptr %gpu, i64 16
  store i64 %replays_word, ptr %replays_at, align 8
  %room_word = add i64 %kernels, ${words}
  %room = getelementptr i64, ptr %gpu, i64 %room_word
  %room_at = getelementptr i64, ptr %gpu, i64 13
  store ptr %room, ptr %room_at, align 8
  %stride_at = getelementptr i64, ptr %gpu, i64 14
  store i64 %stride, ptr %stride_at, align 8
  %r1 = call i32 @tfc_cuDevicePrimaryCtxRetain(ptr %table, ptr %context_at, i32 %device_number)
  %bad1 = icmp ne i32 %r1, 0
  br i1 %bad1, label %fail, label %enter
enter:
  %context = load ptr, ptr %context_at, align 8
  %r2 = call i32 @tfc_cuCtxSetCurrent(ptr %table, ptr %context)
  %bad2 = icmp ne i32 %r2, 0
  br i1 %bad2, label %fail, label %image
image:
  ; Machine code for this very generation, if there is any, else PTX, which the driver compiles.
  %has_cubin = icmp ne ptr %cubin, null
  %wanted_major = sdiv i32 %capability, 10
  %same = icmp eq i32 %major, %wanted_major
  %try = and i1 %has_cubin, %same
  br i1 %try, label %binary, label %text
binary:
  %r_binary = call i32 @tfc_cuModuleLoadData(ptr %table, ptr %module_at, ptr %cubin)
  %loaded = icmp eq i32 %r_binary, 0
  br i1 %loaded, label %stream, label %text
text:
  %r_text = call i32 @tfc_cuModuleLoadData(ptr %table, ptr %module_at, ptr %ptx)
  %bad3 = icmp ne i32 %r_text, 0
  br i1 %bad3, label %fail, label %stream
stream:
  %r4 = call i32 @tfc_cuStreamCreate(ptr %table, ptr %stream_at, i32 1)
  %bad4 = icmp ne i32 %r4, 0
  br i1 %bad4, label %fail, label %status
status:
  %r5 = call i32 @tfc_cuMemAlloc_v2(ptr %table, ptr %status_at, i64 256)
  %bad5 = icmp ne i32 %r5, 0
  br i1 %bad5, label %fail, label %clear
clear:
  %status_word = load i64, ptr %status_at, align 8
  %stream_word = load ptr, ptr %stream_at, align 8
  %r6 = call i32 @tfc_cuMemsetD8Async(ptr %table, i64 %status_word, i8 0, i64 256, ptr %stream_word)
  %bad6 = icmp ne i32 %r6, 0
  br i1 %bad6, label %fail, label %functions
functions:
  %module = load ptr, ptr %module_at, align 8
  br label %next
next:
  %k = phi i64 [ 0, %functions ], [ %k1, %on ]
  %name = phi ptr [ %names, %functions ], [ %after, %on ]
  %left = icmp ult i64 %k, %kernels
  br i1 %left, label %one, label %good
one:
  %word = add i64 %k, ${words}
  %function_at = getelementptr i64, ptr %gpu, i64 %word
  %r7 = call i32 @tfc_cuModuleGetFunction(ptr %table, ptr %function_at, ptr %module, ptr %name)
  %bad7 = icmp ne i32 %r7, 0
  br i1 %bad7, label %fail, label %on
on:
  %length = call i64 @strlen(ptr %name)
  %skip = add i64 %length, 1
  %after = getelementptr i8, ptr %name, i64 %skip
  %k1 = add i64 %k, 1
  br label %next
good:
  ret i32 0
fail:
  %result = phi i32 [ %r1, %retain ], [ %r2, %enter ], [ %r_text, %text ], [ %r4, %stream ], [ %r5, %status ], [ %r6, %clear ], [ %r7, %one ]
  %code = call i32 @tfc_gpu_code(i32 %result)
  ret i32 %code
}

; Let a kernel have more than 48 KB of shared memory.
define internal i32 @tfc_gpu_share(ptr %gpu, i64 %kernel, i32 %bytes) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %word = add i64 %kernel, ${words}
  %function_at = getelementptr i64, ptr %gpu, i64 %word
  %function = load ptr, ptr %function_at, align 8
  %result = call i32 @tfc_cuFuncSetAttribute(ptr %table, ptr %function, i32 8, i32 %bytes)
  %code = call i32 @tfc_gpu_code(i32 %result)
  ret i32 %code
}

; Take back what @tfc_gpu_open made, as far as it got, and all memory.
define internal void @tfc_gpu_close(ptr %gpu) nounwind {
entry:
  %none = icmp eq ptr %gpu, null
  br i1 %none, label %out, label %look
look:
  %table = load ptr, ptr %gpu, align 8
  %context_at = getelementptr i64, ptr %gpu, i64 1
  %context = load ptr, ptr %context_at, align 8
  %no_context = icmp eq ptr %context, null
  br i1 %no_context, label %end, label %enter
enter:
  %r1 = call i32 @tfc_cuCtxSetCurrent(ptr %table, ptr %context)
  %stream_at = getelementptr i64, ptr %gpu, i64 4
  %stream = load ptr, ptr %stream_at, align 8
  %some_stream = icmp ne ptr %stream, null
  br i1 %some_stream, label %wait, label %memory
wait:
  %r2 = call i32 @tfc_cuStreamSynchronize(ptr %table, ptr %stream)
  call void @tfc_gpu_forget(ptr %gpu)
  br label %memory
memory:
  call void @tfc_gpu_free(ptr %gpu, i64 5)
  call void @tfc_gpu_free(ptr %gpu, i64 6)
  call void @tfc_gpu_free(ptr %gpu, i64 8)
  call void @tfc_gpu_free(ptr %gpu, i64 10)
  call void @tfc_gpu_free(ptr %gpu, i64 11)
  br i1 %some_stream, label %stop, label %unload
stop:
  call void @tfc_gpu_drop_event(ptr %gpu, i64 17)
  call void @tfc_gpu_drop_event(ptr %gpu, i64 18)
  %r3 = call i32 @tfc_cuStreamDestroy_v2(ptr %table, ptr %stream)
  br label %unload
unload:
  %module_at = getelementptr i64, ptr %gpu, i64 3
  %module = load ptr, ptr %module_at, align 8
  %no_module = icmp eq ptr %module, null
  br i1 %no_module, label %release, label %drop
drop:
  %r4 = call i32 @tfc_cuModuleUnload(ptr %table, ptr %module)
  br label %release
release:
  %device_at = getelementptr i64, ptr %gpu, i64 2
  %device = load i32, ptr %device_at, align 8
  %r5 = call i32 @tfc_cuDevicePrimaryCtxRelease_v2(ptr %table, i32 %device)
  br label %end
end:
  call void @free(ptr %gpu)
  br label %out
out:
  ret void
}

define internal void @tfc_gpu_drop_event(ptr %gpu, i64 %word) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %at = getelementptr i64, ptr %gpu, i64 %word
  %event = load ptr, ptr %at, align 8
  %none = icmp eq ptr %event, null
  br i1 %none, label %out, label %drop
drop:
  %result = call i32 @tfc_cuEventDestroy_v2(ptr %table, ptr %event)
  br label %out
out:
  ret void
}

define internal void @tfc_gpu_free(ptr %gpu, i64 %word) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %at = getelementptr i64, ptr %gpu, i64 %word
  %memory = load i64, ptr %at, align 8
  %none = icmp eq i64 %memory, 0
  br i1 %none, label %out, label %give
give:
  %result = call i32 @tfc_cuMemFree_v2(ptr %table, i64 %memory)
  store i64 0, ptr %at, align 8
  br label %out
out:
  ret void
}

; Memory on the device, at the word %word.
define internal i32 @tfc_gpu_allocate(ptr %gpu, i64 %word, i64 %bytes) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %at = getelementptr i64, ptr %gpu, i64 %word
  %result = call i32 @tfc_cuMemAlloc_v2(ptr %table, ptr %at, i64 %bytes)
  ret i32 %result
}

; At least %bytes at the word %word, behind which the capacity stands; what was there is not kept.
define internal i32 @tfc_gpu_reserve(ptr %model, ptr %gpu, i64 %word, i64 %bytes, ptr %what) nounwind {
entry:
  %next = add i64 %word, 1
  %capacity_at = getelementptr i64, ptr %gpu, i64 %next
  %had = load i64, ptr %capacity_at, align 8
  %small = icmp slt i64 %had, %bytes
  br i1 %small, label %grow, label %fine
fine:
  ret i32 0
grow:
  %table = load ptr, ptr %gpu, align 8
  %stream_at = getelementptr i64, ptr %gpu, i64 4
  %stream = load ptr, ptr %stream_at, align 8
  %waited = call i32 @tfc_cuStreamSynchronize(ptr %table, ptr %stream)
  call void @tfc_gpu_forget(ptr %gpu)             ; graphs have the old address
  call void @tfc_gpu_free(ptr %gpu, i64 %word)
  store i64 0, ptr %capacity_at, align 8
  %result = call i32 @tfc_gpu_allocate(ptr %gpu, i64 %word, i64 %bytes)
  %bad = icmp ne i32 %result, 0
  br i1 %bad, label %fail, label %keep
keep:
  store i64 %bytes, ptr %capacity_at, align 8
  ret i32 0
fail:
  %code = call i32 @tfc_gpu_result(ptr %model, i32 %result, ptr %what)
  ret i32 %code
}

; Work on the context of the instance's device from here on, in this thread.
define internal i32 @tfc_gpu_enter(ptr %model, ptr %gpu, ptr %what) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %context_at = getelementptr i64, ptr %gpu, i64 1
  %context = load ptr, ptr %context_at, align 8
  %result = call i32 @tfc_cuCtxSetCurrent(ptr %table, ptr %context)
  %code = call i32 @tfc_gpu_result(ptr %model, i32 %result, ptr %what)
  ret i32 %code
}

; The context that is current in this thread; null where none is.
define internal ptr @tfc_gpu_before() nounwind {
entry:
  %out = alloca ptr, align 8
  store ptr null, ptr %out, align 8
  %table = load atomic ptr, ptr @tfc_driver acquire, align 8
  %none = icmp eq ptr %table, null
  br i1 %none, label %unknown, label %ask
ask:
  %result = call i32 @tfc_cuCtxGetCurrent(ptr %table, ptr %out)
  %good = icmp eq i32 %result, 0
  br i1 %good, label %known, label %unknown
known:
  %context = load ptr, ptr %out, align 8
  ret ptr %context
unknown:
  ret ptr null
}

; Make %before current again where it was another one: the caller's own, not the device's primary one.
define internal void @tfc_gpu_after(ptr %before) nounwind {
entry:
  %none = icmp eq ptr %before, null
  br i1 %none, label %out, label %look
look:
  %now = call ptr @tfc_gpu_before()
  %same = icmp eq ptr %now, %before
  br i1 %same, label %out, label %restore
restore:
  %table = load atomic ptr, ptr @tfc_driver acquire, align 8
  %result = call i32 @tfc_cuCtxSetCurrent(ptr %table, ptr %before)
  br label %out
out:
  ret void
}

; Start a kernel; a grid of nothing is none.
define internal i32 @tfc_gpu_launch(ptr %model, ptr %gpu, i64 %kernel, i64 %grid, i32 %block, i32 %shared, ptr %arguments, ptr %stream, ptr %what) nounwind {
entry:
  %some = icmp sgt i64 %grid, 0
  br i1 %some, label %start, label %none
none:
  ret i32 0
start:
  %table = load ptr, ptr %gpu, align 8
  %word = add i64 %kernel, ${words}
  %function_at = getelementptr i64, ptr %gpu, i64 %word
  %function = load ptr, ptr %function_at, align 8
  %large = icmp sgt i64 %grid, 2147483647
  %blocks_wide = select i1 %large, i64 2147483647, i64 %grid
  %blocks = trunc i64 %blocks_wide to i32
  %result = call i32 @tfc_cuLaunchKernel(ptr %table, ptr %function, i32 %blocks, i32 1, i32 1, i32 %block, i32 1, i32 1, i32 %shared, ptr %stream, ptr %arguments, ptr null)
  %bad = icmp ne i32 %result, 0
  br i1 %bad, label %tell, label %started
started:
  %waits_at = getelementptr i64, ptr %gpu, i64 12
  %waits = load i64, ptr %waits_at, align 8
  %waited = icmp ne i64 %waits, 0
  br i1 %waited, label %wait, label %none
wait:
  %after = call i32 @tfc_cuStreamSynchronize(ptr %table, ptr %stream)
  br label %tell
tell:
  %told = phi i32 [ %result, %start ], [ %after, %wait ]
  %code = call i32 @tfc_gpu_result(ptr %model, i32 %told, ptr %what)
  ret i32 %code
}

; Copy from host to device (%way 0), from device to host (1) or within the device (2).
define internal i32 @tfc_gpu_copy(ptr %model, ptr %gpu, i32 %way, ptr %target, ptr %source, i64 %bytes, ptr %stream, ptr %what) nounwind {
entry:
  %table = load ptr, ptr %gpu, align 8
  %to = ptrtoint ptr %target to i64
  %from = ptrtoint ptr %source to i64
  %some = icmp sgt i64 %bytes, 0
  br i1 %some, label %choose, label %none
none:
  ret i32 0
choose:
  switch i32 %way, label %within [ i32 0, label %in i32 1, label %back ]
in:
  %r0 = call i32 @tfc_cuMemcpyHtoDAsync_v2(ptr %table, i64 %to, ptr %source, i64 %bytes, ptr %stream)
  br label %tell
back:
  %r1 = call i32 @tfc_cuMemcpyDtoHAsync_v2(ptr %table, ptr %target, i64 %from, i64 %bytes, ptr %stream)
  br label %tell
within:
  %r2 = call i32 @tfc_cuMemcpyDtoDAsync_v2(ptr %table, i64 %to, i64 %from, i64 %bytes, ptr %stream)
  br label %tell
tell:
  %result = phi i32 [ %r0, %in ], [ %r1, %back ], [ %r2, %within ]
  %code = call i32 @tfc_gpu_result(ptr %model, i32 %result, ptr %what)
  ret i32 %code
}

; Wait for all that was begun on a stream.
define internal i32 @tfc_gpu_wait(ptr %model, ptr %gpu, ptr %stream, ptr %what) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %result = call i32 @tfc_cuStreamSynchronize(ptr %table, ptr %stream)
  %code = call i32 @tfc_gpu_result(ptr %model, i32 %result, ptr %what)
  ret i32 %code
}

; The same where something has failed already, so that no other error is of interest.
define internal i32 @tfc_gpu_quiet(ptr %gpu, ptr %stream) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %result = call i32 @tfc_cuStreamSynchronize(ptr %table, ptr %stream)
  ret i32 %result
}

; Zeros.
define internal i32 @tfc_gpu_clear(ptr %gpu, ptr %memory, i64 %bytes) nounwind {
  %table = load ptr, ptr %gpu, align 8
  %stream_at = getelementptr i64, ptr %gpu, i64 4
  %stream = load ptr, ptr %stream_at, align 8
  %address = ptrtoint ptr %memory to i64
  %result = call i32 @tfc_cuMemsetD8Async(ptr %table, i64 %address, i8 0, i64 %bytes, ptr %stream)
  %code = call i32 @tfc_gpu_code(i32 %result)
  ret i32 %code
}

; Wait, and see what the kernels until then reported, which is forgotten.
define internal i32 @tfc_gpu_status(ptr %model, ptr %gpu, ptr %stream, ptr %what) nounwind {
entry:
  %here = alloca i32, align 4
  store i32 0, ptr %here, align 4
  %status_at = getelementptr i64, ptr %gpu, i64 5
  %status = load ptr, ptr %status_at, align 8
  %status_word = ptrtoint ptr %status to i64
  %copied = call i32 @tfc_gpu_copy(ptr %model, ptr %gpu, i32 1, ptr %here, ptr %status, i64 4, ptr %stream, ptr %what)
  %bad = icmp ne i32 %copied, 0
  br i1 %bad, label %fail, label %wait
fail:
  ret i32 %copied
wait:
  %waited = call i32 @tfc_gpu_wait(ptr %model, ptr %gpu, ptr %stream, ptr %what)
  %bad2 = icmp ne i32 %waited, 0
  br i1 %bad2, label %fail2, label %look
fail2:
  ret i32 %waited
look:
  %reported = load i32, ptr %here, align 4
  %some = icmp ne i32 %reported, 0
  br i1 %some, label %clear, label %out
clear:
  %table = load ptr, ptr %gpu, align 8
  %cleared = call i32 @tfc_cuMemsetD8Async(ptr %table, i64 %status_word, i8 0, i64 4, ptr %stream)
  br label %out
out:
  ret i32 %reported
}

; Times are taken: note when what was begun on a stream until now is done, as the start (17) or end (18) of something.
define internal i32 @tfc_gpu_mark(ptr %gpu, i64 %word, ptr %stream) nounwind {
entry:
  %table = load ptr, ptr %gpu, align 8
  %at = getelementptr i64, ptr %gpu, i64 %word
  %known = load ptr, ptr %at, align 8
  %none = icmp eq ptr %known, null
  br i1 %none, label %make, label %record
make:
  %made = call i32 @tfc_cuEventCreate(ptr %table, ptr %at, i32 0)
  br label %record
record:
  %event = load ptr, ptr %at, align 8
  %result = call i32 @tfc_cuEventRecord(ptr %table, ptr %event, ptr %stream)
  ret i32 %result
}

; Nanoseconds on the device from the start that was noted until now, which is waited for.
define internal i64 @tfc_gpu_elapsed(ptr %gpu, ptr %stream) nounwind {
  %milliseconds = alloca float, align 4
  store float 0.0, ptr %milliseconds, align 4
  %table = load ptr, ptr %gpu, align 8
  %marked = call i32 @tfc_gpu_mark(ptr %gpu, i64 18, ptr %stream)
  %start_at = getelementptr i64, ptr %gpu, i64 17
  %end_at = getelementptr i64, ptr %gpu, i64 18
  %start = load ptr, ptr %start_at, align 8
  %end = load ptr, ptr %end_at, align 8
  %waited = call i32 @tfc_cuEventSynchronize(ptr %table, ptr %end)
  %result = call i32 @tfc_cuEventElapsedTime_v2(ptr %table, ptr %milliseconds, ptr %start, ptr %end)
  %passed = load float, ptr %milliseconds, align 4
  %wide = fpext float %passed to double
  %scaled = fmul double %wide, 1.0e6
  %whole = fptosi double %scaled to i64
  ret i64 %whole
}

; The captured graphs are no more what is wanted.
define internal void @tfc_gpu_forget(ptr %gpu) nounwind {
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %left = icmp ult i64 %k, ${graphs}
  br i1 %left, label %one, label %out
one:
  %slot = call ptr @tfc_gpu_slot(ptr %gpu, i64 %k)
  call void @tfc_gpu_drop_graph(ptr %gpu, ptr %slot)
  %k1 = add i64 %k, 1
  br label %next
out:
  ret void
}

; Where graph %k is kept.
define internal ptr @tfc_gpu_slot(ptr %gpu, i64 %k) nounwind {
  %room_at = getelementptr i64, ptr %gpu, i64 13
  %room = load ptr, ptr %room_at, align 8
  %stride_at = getelementptr i64, ptr %gpu, i64 14
  %stride = load i64, ptr %stride_at, align 8
  %offset = mul i64 %k, %stride
  %slot = getelementptr i8, ptr %room, i64 %offset
  ret ptr %slot
}

define internal void @tfc_gpu_drop_graph(ptr %gpu, ptr %slot) nounwind {
entry:
  %seen_at = getelementptr i64, ptr %slot, i64 1
  store i64 0, ptr %seen_at, align 8
  %graph = load ptr, ptr %slot, align 8
  %none = icmp eq ptr %graph, null
  br i1 %none, label %out, label %drop
drop:
  %table = load ptr, ptr %gpu, align 8
  %result = call i32 @tfc_cuGraphExecDestroy(ptr %table, ptr %graph)
  store ptr null, ptr %slot, align 8
  br label %out
out:
  ret void
}

; Run %enqueue, or the graph of its launches that an earlier run with the same key (%bytes: addresses and dims) left.
; The first run with a key is as it is, so that nothing is left to be allocated or loaded in the second, which is
; captured; several keys take turns where outputs do. Where capturing does not work, it is not tried again.
define internal i32 @tfc_gpu_replay(ptr %enqueue, ptr %model, ptr %gpu, ptr %inputs, ptr %outputs, ptr %dims, ptr %stream, ptr %key, i64 %bytes, ptr %what) nounwind {
entry:
  %captured = alloca ptr, align 8
  store ptr null, ptr %captured, align 8
  %table = load ptr, ptr %gpu, align 8
  %replays_at = getelementptr i64, ptr %gpu, i64 16
  %victim_at = getelementptr i64, ptr %gpu, i64 15
  %waits_at = getelementptr i64, ptr %gpu, i64 12
  %waits = load i64, ptr %waits_at, align 8
  %replays = load i64, ptr %replays_at, align 8
  %off = icmp eq i64 %replays, 0
  %slow = icmp ne i64 %waits, 0
  %direct = or i1 %off, %slow
  br i1 %direct, label %plain, label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %other ]
  %left = icmp ult i64 %k, ${graphs}
  br i1 %left, label %one, label %note       ; after it has run: that may have made room, and graphs forgotten
one:
  %slot = call ptr @tfc_gpu_slot(ptr %gpu, i64 %k)
  %seen_at = getelementptr i64, ptr %slot, i64 1
  %seen = load i64, ptr %seen_at, align 8
  %known = icmp ne i64 %seen, 0
  br i1 %known, label %compare, label %other
compare:
  %has = getelementptr i64, ptr %slot, i64 2
  %differs = call i32 @memcmp(ptr %has, ptr %key, i64 %bytes)
  %same = icmp eq i32 %differs, 0
  br i1 %same, label %again, label %other
other:
  %k1 = add i64 %k, 1
  br label %next
note:
  %first = call i32 %enqueue(ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr %stream)
  %victim = load i64, ptr %victim_at, align 8
  %after = add i64 %victim, 1
  %wrapped = urem i64 %after, ${graphs}
  store i64 %wrapped, ptr %victim_at, align 8
  %fresh = call ptr @tfc_gpu_slot(ptr %gpu, i64 %victim)
  call void @tfc_gpu_drop_graph(ptr %gpu, ptr %fresh)
  %fresh_seen = getelementptr i64, ptr %fresh, i64 1
  store i64 1, ptr %fresh_seen, align 8
  %fresh_key = getelementptr i64, ptr %fresh, i64 2
  %noted = call ptr @memcpy(ptr %fresh_key, ptr %key, i64 %bytes)
  ret i32 %first
plain:
  %ran = call i32 %enqueue(ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr %stream)
  ret i32 %ran
again:
  %graph = load ptr, ptr %slot, align 8
  %there = icmp ne ptr %graph, null
  br i1 %there, label %launch, label %capture
launch:
  %replayed = load ptr, ptr %slot, align 8
  %launched = call i32 @tfc_cuGraphLaunch(ptr %table, ptr %replayed, ptr %stream)
  %told = call i32 @tfc_gpu_result(ptr %model, i32 %launched, ptr %what)
  ret i32 %told
capture:
  %begun = call i32 @tfc_cuStreamBeginCapture_v2(ptr %table, ptr %stream, i32 1)
  %refused = icmp ne i32 %begun, 0
  br i1 %refused, label %never, label %record
record:
  %recorded = call i32 %enqueue(ptr %model, ptr %inputs, ptr %outputs, ptr %dims, ptr %stream)
  %ended = call i32 @tfc_cuStreamEndCapture(ptr %table, ptr %stream, ptr %captured)
  %made = load ptr, ptr %captured, align 8
  %failed = or i32 %recorded, %ended
  %no_graph = icmp eq ptr %made, null
  %some_failed = icmp ne i32 %failed, 0
  %lost = or i1 %no_graph, %some_failed
  br i1 %lost, label %drop, label %instantiate
instantiate:
  %ready = call i32 @tfc_cuGraphInstantiateWithFlags(ptr %table, ptr %slot, ptr %made, i64 0)
  %destroyed = call i32 @tfc_cuGraphDestroy(ptr %table, ptr %made)
  %unready = icmp ne i32 %ready, 0
  br i1 %unready, label %unmade, label %launch
unmade:
  store ptr null, ptr %slot, align 8
  br label %never
drop:
  br i1 %no_graph, label %never, label %destroy
destroy:
  %destroyed2 = call i32 @tfc_cuGraphDestroy(ptr %table, ptr %made)
  br label %never
never:
  store i64 0, ptr %replays_at, align 8
  br label %plain
}
