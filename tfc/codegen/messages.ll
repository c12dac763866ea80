; The words of a run: texts and values of tensors, one after the other.
;
; A text is three words: its bytes, how many there are, how many there is room for. Where there is no
; memory for more it stays as it is. Numbers are written as `worded` in tfc/dialects/tfc/control.py
; says: a float by 6 digits (f64: 15) where they tell its value, else by 9 (17).

declare ptr @realloc(ptr, i64) nounwind
declare i32 @snprintf(ptr, i64, ptr, ...) nounwind
declare double @strtod(ptr, ptr) nounwind
declare i64 @write(i32, ptr, i64) nounwind

@tfc_text_signed = private constant [5 x i8] c"%lld\00"
@tfc_text_unsigned = private constant [5 x i8] c"%llu\00"
@tfc_text_float = private constant [5 x i8] c"%.*g\00"
@tfc_text_nan = private constant [3 x i8] c"nan"
@tfc_text_open = private constant [1 x i8] c"["
@tfc_text_close = private constant [1 x i8] c"]"
@tfc_text_space = private constant [1 x i8] c" "
@tfc_text_dots = private constant [3 x i8] c"..."

define internal void @tfc_text_add(ptr %text, ptr %bytes, i64 %count) nounwind {
  %size_at = getelementptr i64, ptr %text, i64 1
  %room_at = getelementptr i64, ptr %text, i64 2
  %old = load ptr, ptr %text, align 8
  %size = load i64, ptr %size_at, align 8
  %room = load i64, ptr %room_at, align 8
  %wanted = add i64 %size, %count
  %needed = add i64 %wanted, 1            ; the zero behind
  %small = icmp ugt i64 %needed, %room
  br i1 %small, label %grow, label %copy
grow:
  %twice = mul i64 %needed, 2
  %larger = call ptr @realloc(ptr %old, i64 %twice)
  %none = icmp eq ptr %larger, null
  br i1 %none, label %full, label %grown
grown:
  store ptr %larger, ptr %text, align 8
  store i64 %twice, ptr %room_at, align 8
  br label %copy
copy:
  %base = phi ptr [ %old, %0 ], [ %larger, %grown ]
  %end = getelementptr i8, ptr %base, i64 %size
  %copied = call ptr @memcpy(ptr %end, ptr %bytes, i64 %count)
  %last = getelementptr i8, ptr %base, i64 %wanted
  store i8 0, ptr %last, align 1
  store i64 %wanted, ptr %size_at, align 8
  ret void
full:
  ret void
}

; Standard error, whole; the text is gone afterwards.
define internal void @tfc_text_print(ptr %text) nounwind {
  %base = load ptr, ptr %text, align 8
  %size_at = getelementptr i64, ptr %text, i64 1
  %size = load i64, ptr %size_at, align 8
  br label %more
more:
  %from = phi i64 [ 0, %0 ], [ %next, %on ]
  %left = sub i64 %size, %from
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %put, label %done
put:
  %start = getelementptr i8, ptr %base, i64 %from
  %count = call i64 @write(i32 2, ptr %start, i64 %left)
  %fine = icmp sgt i64 %count, 0
  br i1 %fine, label %on, label %done
on:
  %next = add i64 %from, %count
  br label %more
done:
  call void @free(ptr %base)
  ret void
}

; The element at %data; %kind: the byte of its dtype, see messages.py.
define internal void @tfc_text_number(ptr %text, ptr %data, i32 %kind) nounwind {
  %buffer = alloca [64 x i8], align 8
  switch i32 %kind, label %byte [
    i32 1, label %i8 i32 2, label %u16 i32 3, label %i16 i32 4, label %u32 i32 5, label %i32
    i32 6, label %u64 i32 7, label %i64 i32 8, label %f16 i32 9, label %bf16 i32 10, label %f32
    i32 11, label %f64
  ]
byte:
  %byte_0 = load i8, ptr %data, align 1
  %byte_1 = zext i8 %byte_0 to i64
  br label %unsigned
i8:
  %i8_0 = load i8, ptr %data, align 1
  %i8_1 = sext i8 %i8_0 to i64
  br label %signed
u16:
  %u16_0 = load i16, ptr %data, align 2
  %u16_1 = zext i16 %u16_0 to i64
  br label %unsigned
i16:
  %i16_0 = load i16, ptr %data, align 2
  %i16_1 = sext i16 %i16_0 to i64
  br label %signed
u32:
  %u32_0 = load i32, ptr %data, align 4
  %u32_1 = zext i32 %u32_0 to i64
  br label %unsigned
i32:
  %i32_0 = load i32, ptr %data, align 4
  %i32_1 = sext i32 %i32_0 to i64
  br label %signed
u64:
  %u64_0 = load i64, ptr %data, align 8
  br label %unsigned
i64:
  %i64_0 = load i64, ptr %data, align 8
  br label %signed
signed:
  %s = phi i64 [ %i8_1, %i8 ], [ %i16_1, %i16 ], [ %i32_1, %i32 ], [ %i64_0, %i64 ]
  %s_count = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_signed, i64 %s)
  br label %add
unsigned:
  %u = phi i64 [ %byte_1, %byte ], [ %u16_1, %u16 ], [ %u32_1, %u32 ], [ %u64_0, %u64 ]
  %u_count = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_unsigned, i64 %u)
  br label %add
f16:                                       ; exponents differ by 112; that of infinity stays the last one
  %half = load i16, ptr %data, align 2
  %wide = zext i16 %half to i32
  %magnitude = and i32 %wide, 32767
  %shifted = shl i32 %magnitude, 13
  %scaled = bitcast i32 %shifted to float
  %value = fmul float %scaled, 0x46F0000000000000
  %value_bits = bitcast float %value to i32
  %special = icmp uge i32 %magnitude, 31744
  %special_bits = or i32 %shifted, 2139095040
  %bits = select i1 %special, i32 %special_bits, i32 %value_bits
  %sign = and i32 %wide, 32768
  %sign_high = shl i32 %sign, 16
  %signed_bits = or i32 %bits, %sign_high
  %f16_0 = bitcast i32 %signed_bits to float
  br label %single
bf16:
  %brain = load i16, ptr %data, align 2
  %brain_wide = zext i16 %brain to i32
  %brain_bits = shl i32 %brain_wide, 16
  %bf16_0 = bitcast i32 %brain_bits to float
  br label %single
f32:
  %f32_0 = load float, ptr %data, align 4
  br label %single
single:
  %f = phi float [ %f16_0, %f16 ], [ %bf16_0, %bf16 ], [ %f32_0, %f32 ]
  %f_wide = fpext float %f to double
  %f_nan = fcmp uno float %f, %f
  br i1 %f_nan, label %nan, label %single_short
single_short:
  %f_count = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_float, i32 6, double %f_wide)
  %f_read = call double @strtod(ptr %buffer, ptr null)
  %f_back = fptrunc double %f_read to float
  %f_tells = fcmp oeq float %f_back, %f
  br i1 %f_tells, label %counted_f, label %single_long
counted_f:
  br label %add
single_long:
  %f_more = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_float, i32 9, double %f_wide)
  br label %add
f64:
  %d = load double, ptr %data, align 8
  %d_nan = fcmp uno double %d, %d
  br i1 %d_nan, label %nan, label %double_short
double_short:
  %d_count = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_float, i32 15, double %d)
  %d_read = call double @strtod(ptr %buffer, ptr null)
  %d_tells = fcmp oeq double %d_read, %d
  br i1 %d_tells, label %counted_d, label %double_long
counted_d:
  br label %add
double_long:
  %d_more = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %buffer, i64 64, ptr @tfc_text_float, i32 17, double %d)
  br label %add
nan:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_nan, i64 3)
  ret void
add:
  %count = phi i32 [ %s_count, %signed ], [ %u_count, %unsigned ], [ %f_count, %counted_f ],
    [ %f_more, %single_long ], [ %d_count, %counted_d ], [ %d_more, %double_long ]
  %count_wide = sext i32 %count to i64
  call void @tfc_text_add(ptr %text, ptr %buffer, i64 %count_wide)
  ret void
}

; A tensor of %rank extents %dims; %few elements at both ends of each, all where it is negative.
define internal void @tfc_text_tensor(ptr %text, ptr %data, i32 %kind, i64 %bytes, i64 %rank, ptr %dims, i64 %few) nounwind {
  %scalar = icmp eq i64 %rank, 0
  br i1 %scalar, label %number, label %open
number:
  call void @tfc_text_number(ptr %text, ptr %data, i32 %kind)
  ret void
open:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_open, i64 1)
  %count = load i64, ptr %dims, align 8
  %inner = getelementptr i64, ptr %dims, i64 1
  %rest = sub i64 %rank, 1
  br label %multiply
multiply:
  %k = phi i64 [ 0, %open ], [ %k_next, %product ]
  %step = phi i64 [ %bytes, %open ], [ %step_next, %product ]
  %inside = icmp slt i64 %k, %rest
  br i1 %inside, label %product, label %begin
product:
  %extent_at = getelementptr i64, ptr %inner, i64 %k
  %extent = load i64, ptr %extent_at, align 8
  %step_next = mul i64 %step, %extent
  %k_next = add i64 %k, 1
  br label %multiply
begin:
  %twice = mul i64 %few, 2
  %limited = icmp sge i64 %few, 0
  %many = icmp sgt i64 %count, %twice
  %cut = and i1 %limited, %many
  %resume = sub i64 %count, %few
  br label %element
element:
  %i = phi i64 [ 0, %begin ], [ %i_next, %shown ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %separate, label %close
separate:
  %first = icmp eq i64 %i, 0
  br i1 %first, label %middle, label %space
space:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_space, i64 1)
  br label %middle
middle:
  %here = icmp eq i64 %i, %few
  %skip = and i1 %cut, %here
  br i1 %skip, label %dots, label %show
dots:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_dots, i64 3)
  %over = icmp sge i64 %resume, %count
  br i1 %over, label %close, label %after
after:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_space, i64 1)
  br label %show
show:
  %at = phi i64 [ %i, %middle ], [ %resume, %after ]
  %offset = mul i64 %at, %step
  %place = getelementptr i8, ptr %data, i64 %offset
  call void @tfc_text_tensor(ptr %text, ptr %place, i32 %kind, i64 %bytes, i64 %rest, ptr %inner, i64 %few)
  br label %shown
shown:
  %i_next = add i64 %at, 1
  br label %element
close:
  call void @tfc_text_add(ptr %text, ptr @tfc_text_close, i64 1)
  ret void
}
