; A model as a Python function: METH_FASTCALL, called by the interpreter without a detour.
;
;   %self   a numpy array whose data is a table of 8-byte words, laid out by runtime/dispatch.py
;
; Everything of Python is reached through addresses in the table, so a library that holds this
; needs no Python where nobody calls it. Objects are seen as CPython lays them out (a count, a type),
; arrays as numpy does; who makes a table has checked both.
;
; What is not exactly as the table says is answered with NotImplemented, before anything has run. The
; order: results are made, the model's lock is taken (both may run other Python code), the inputs
; are looked at, and from there to the end of the run nothing else has the interpreter or the model.

define ptr @${name}_dispatch(ptr %self, ptr %args, i64 %count) nounwind {
entry:
  %p_table = getelementptr i64, ptr %self, i64 2
  %t = load ptr, ptr %p_table, align 8
  %inputs = load i64, ptr %t, align 8
  %p_outputs = getelementptr i64, ptr %t, i64 1
  %outputs = load i64, ptr %p_outputs, align 8
  %p_vectorcall = getelementptr i64, ptr %t, i64 7
  %vectorcall = load ptr, ptr %p_vectorcall, align 8
  %p_incref = getelementptr i64, ptr %t, i64 8
  %incref = load ptr, ptr %p_incref, align 8
  %p_decref = getelementptr i64, ptr %t, i64 9
  %decref = load ptr, ptr %p_decref, align 8
  %p_rows = getelementptr i64, ptr %t, i64 17
  %rows = load ptr, ptr %p_rows, align 8
  %ports = add i64 %inputs, %outputs
  %told = alloca ptr, align 8
  %places = alloca i64, i64 %ports, align 8
  %out_places = getelementptr i64, ptr %places, i64 %inputs
  %same = icmp eq i64 %count, %inputs
  br i1 %same, label %make, label %unusual

make:
  %p_empty = getelementptr i64, ptr %t, i64 3
  %empty = load ptr, ptr %p_empty, align 8
  %p_specs = getelementptr i64, ptr %t, i64 18
  %specs = load ptr, ptr %p_specs, align 8
  %single = icmp eq i64 %outputs, 1
  br i1 %single, label %one, label %several
one:
  %made = call ptr %vectorcall(ptr %empty, ptr %specs, i64 2, ptr null)
  %none = icmp eq ptr %made, null
  br i1 %none, label %raised, label %placed
placed:
  %p_data = getelementptr i64, ptr %made, i64 2
  %data = load i64, ptr %p_data, align 8
  store i64 %data, ptr %out_places, align 8
  br label %lock
several:
  %p_tuple = getelementptr i64, ptr %t, i64 10
  %new_tuple = load ptr, ptr %p_tuple, align 8
  %p_set = getelementptr i64, ptr %t, i64 11
  %set = load ptr, ptr %p_set, align 8
  %tuple = call ptr %new_tuple(i64 %outputs)
  %untupled = icmp eq ptr %tuple, null
  br i1 %untupled, label %raised, label %next
next:
  %k = phi i64 [ 0, %several ], [ %k1, %put ]
  %all = icmp eq i64 %k, %outputs
  br i1 %all, label %lock, label %item
item:
  %k2 = mul i64 %k, 2
  %spec = getelementptr i64, ptr %specs, i64 %k2
  %array = call ptr %vectorcall(ptr %empty, ptr %spec, i64 2, ptr null)
  %lost = icmp eq ptr %array, null
  br i1 %lost, label %undo, label %put
undo:
  call void %decref(ptr %tuple)
  br label %raised
put:
  %p_data_k = getelementptr i64, ptr %array, i64 2
  %data_k = load i64, ptr %p_data_k, align 8
  %place_k = getelementptr i64, ptr %out_places, i64 %k
  store i64 %data_k, ptr %place_k, align 8
  %ignored = call i32 %set(ptr %tuple, i64 %k, ptr %array)
  %k1 = add i64 %k, 1
  br label %next

lock:
  %result = phi ptr [ %made, %placed ], [ %tuple, %next ]
  %p_acquire = getelementptr i64, ptr %t, i64 4
  %acquire = load ptr, ptr %p_acquire, align 8
  %taken = call ptr %vectorcall(ptr %acquire, ptr null, i64 0, ptr null)
  %interrupted = icmp eq ptr %taken, null
  br i1 %interrupted, label %drop, label %locked
locked:
  call void %decref(ptr %taken)
  %p_array_type = getelementptr i64, ptr %t, i64 2
  %array_type = load i64, ptr %p_array_type, align 8
  br label %look

look:
  %i = phi i64 [ 0, %locked ], [ %i1, %fits ]
  %seen = icmp eq i64 %i, %inputs
  br i1 %seen, label %run, label %kind
kind:
  %p_arg = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %p_arg, align 8
  %i4 = mul i64 %i, 4
  %row = getelementptr i64, ptr %rows, i64 %i4
  %p_type = getelementptr i64, ptr %arg, i64 1
  %type = load i64, ptr %p_type, align 8
  %is_array = icmp eq i64 %type, %array_type
  br i1 %is_array, label %form, label %refuse
form:
  %p_in = getelementptr i64, ptr %arg, i64 2
  %in = load i64, ptr %p_in, align 8
  %p_rank = getelementptr i64, ptr %arg, i64 3
  %rank = load i32, ptr %p_rank, align 4
  %p_shape = getelementptr i64, ptr %arg, i64 4
  %shape = load ptr, ptr %p_shape, align 8
  %p_dtype = getelementptr i64, ptr %arg, i64 7
  %dtype = load i64, ptr %p_dtype, align 8
  %p_flags = getelementptr i64, ptr %arg, i64 8
  %flags = load i32, ptr %p_flags, align 4
  %want_dtype = load i64, ptr %row, align 8
  %p_want_rank = getelementptr i64, ptr %row, i64 1
  %want_rank64 = load i64, ptr %p_want_rank, align 8
  %want_rank = trunc i64 %want_rank64 to i32
  %p_want_shape = getelementptr i64, ptr %row, i64 2
  %want_shape = load ptr, ptr %p_want_shape, align 8
  %p_bytes = getelementptr i64, ptr %row, i64 3
  %bytes = load i64, ptr %p_bytes, align 8
  %dtype_fits = icmp eq i64 %dtype, %want_dtype
  %rank_fits = icmp eq i32 %rank, %want_rank
  %dense_bits = and i32 %flags, 257            ; C_CONTIGUOUS | ALIGNED
  %dense = icmp eq i32 %dense_bits, 257
  %fits1 = and i1 %dtype_fits, %rank_fits
  %fits2 = and i1 %fits1, %dense
  br i1 %fits2, label %extents, label %refuse
extents:
  %d = phi i64 [ 0, %form ], [ %d1, %extent ]
  %done = icmp eq i64 %d, %want_rank64
  br i1 %done, label %apart, label %extent
extent:
  %p_got = getelementptr i64, ptr %shape, i64 %d
  %got = load i64, ptr %p_got, align 8
  %p_want = getelementptr i64, ptr %want_shape, i64 %d
  %want = load i64, ptr %p_want, align 8
  %d1 = add i64 %d, 1
  %equal = icmp eq i64 %got, %want
  br i1 %equal, label %extents, label %refuse

; Memory of a variable is no input: the run may change it before it is read.
apart:
  %p_variables = getelementptr i64, ptr %t, i64 19
  %variables = load i64, ptr %p_variables, align 8
  %p_spans = getelementptr i64, ptr %t, i64 20
  %spans = load ptr, ptr %p_spans, align 8
  %in_end = add i64 %in, %bytes
  br label %span
span:
  %v = phi i64 [ 0, %apart ], [ %v1, %clash ]
  %free = icmp eq i64 %v, %variables
  br i1 %free, label %fits, label %clash
clash:
  %v2 = mul i64 %v, 2
  %p_from = getelementptr i64, ptr %spans, i64 %v2
  %from = load i64, ptr %p_from, align 8
  %p_to = getelementptr i64, ptr %p_from, i64 1
  %to = load i64, ptr %p_to, align 8
  %v1 = add i64 %v, 1
  %below = icmp ult i64 %in, %to
  %above = icmp ult i64 %from, %in_end
  %overlap = and i1 %below, %above
  br i1 %overlap, label %refuse, label %span
fits:
  %place = getelementptr i64, ptr %places, i64 %i
  store i64 %in, ptr %place, align 8
  %i1 = add i64 %i, 1
  br label %look

run:
  %p_save = getelementptr i64, ptr %t, i64 12
  %save = load ptr, ptr %p_save, align 8
  %p_restore = getelementptr i64, ptr %t, i64 13
  %restore = load ptr, ptr %p_restore, align 8
  %p_model = getelementptr i64, ptr %t, i64 15
  %model = load ptr, ptr %p_model, align 8
  %p_dims = getelementptr i64, ptr %t, i64 16
  %dims = load ptr, ptr %p_dims, align 8
  %thread = call ptr %save()
  %code = call i32 @${name}_run(ptr %model, ptr %places, ptr %out_places, ptr %dims)
  call void %restore(ptr %thread)
  br label %unlock
refuse:
  br label %unlock
unlock:
  %ran = phi i1 [ true, %run ], [ false, %refuse ]
  %status = phi i32 [ %code, %run ], [ 0, %refuse ]
  %p_release = getelementptr i64, ptr %t, i64 5
  %release = load ptr, ptr %p_release, align 8
  %released = call ptr %vectorcall(ptr %release, ptr null, i64 0, ptr null)
  %stuck = icmp eq ptr %released, null
  br i1 %stuck, label %drop, label %unlocked
unlocked:
  call void %decref(ptr %released)
  %good = icmp eq i32 %status, 0
  %returns = and i1 %ran, %good
  br i1 %returns, label %return, label %neither
return:
  ret ptr %result

neither:
  call void %decref(ptr %result)
  br i1 %ran, label %fail, label %unusual
fail:
  %p_number = getelementptr i64, ptr %t, i64 14
  %number = load ptr, ptr %p_number, align 8
  %p_failure = getelementptr i64, ptr %t, i64 6
  %failure = load ptr, ptr %p_failure, align 8
  %wide = sext i32 %status to i64
  %object = call ptr %number(i64 %wide)
  %unnumbered = icmp eq ptr %object, null
  br i1 %unnumbered, label %raised, label %tell
tell:
  store ptr %object, ptr %told, align 8
  %answer = call ptr %vectorcall(ptr %failure, ptr %told, i64 1, ptr null)
  call void %decref(ptr %object)
  ret ptr %answer
unusual:
  %p_not = getelementptr i64, ptr %t, i64 21
  %not = load ptr, ptr %p_not, align 8
  call void %incref(ptr %not)
  ret ptr %not
drop:
  call void %decref(ptr %result)
  br label %raised
raised:
  ret ptr null
}
