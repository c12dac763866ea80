; CRC-32C as checkpoints hold it: rotated, and moved on by a constant. Eight bytes a step: by the
; processor's instruction where there is one, else by eight tables (slicing by 8).
; The words of a text are little-endian, as on every machine that code is generated for.

${declarations}
@tfc_crc32c_tables = internal constant [8 x [256 x i32]] ${tables}

define ${linkage} i32 @tfc_crc32c(ptr %data, i64 %size) nounwind {
entry:
  %words = lshr i64 %size, 3
  %some = icmp ne i64 %words, 0
  br i1 %some, label %word, label %rest
word:
  %k = phi i64 [ 0, %entry ], [ %k1, %word ]
  %c = phi i32 [ -1, %entry ], [ %c8, %word ]
  %at = getelementptr i64, ptr %data, i64 %k
  %both = load i64, ptr %at, align 1
  %wide = zext i32 %c to i64
${steps}
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, %words
  br i1 %more, label %word, label %rest
rest:
  %c9 = phi i32 [ -1, %entry ], [ %c8, %word ]
  %done = shl i64 %words, 3
  br label %next
next:
  %j = phi i64 [ %done, %rest ], [ %j1, %byte ]
  %d = phi i32 [ %c9, %rest ], [ %d1, %byte ]
  %left = icmp ult i64 %j, %size
  br i1 %left, label %byte, label %end
byte:
  %place = getelementptr i8, ptr %data, i64 %j
  %b = load i8, ptr %place, align 1
  %b32 = zext i8 %b to i32
  %mixed = xor i32 %d, %b32
  %low = and i32 %mixed, 255
  %low64 = zext i32 %low to i64
  %entry_at = getelementptr [8 x [256 x i32]], ptr @tfc_crc32c_tables, i64 0, i64 0, i64 %low64
  %table = load i32, ptr %entry_at, align 4
  %shifted = lshr i32 %d, 8
  %d1 = xor i32 %shifted, %table
  %j1 = add i64 %j, 1
  br label %next
end:
  %inverted = xor i32 %d, -1
  %right = lshr i32 %inverted, 15         ; as files hold it
  %up = shl i32 %inverted, 17
  %rotated = or i32 %right, %up
  %masked = add i32 %rotated, -1568478504
  ret i32 %masked
}
