; The variables of a model: their initial values, and checkpoints.
;
; A checkpoint is a bundle as tfc/checkpoint/bundle.py has it. Names, shapes and places of the variables are
; known when the model is compiled, so the index is a template of ${length} bytes: what a run of
; `save` fills in are the checksum of each variable (at @holes), the number of data files (byte 4), and the
; checksum of each block of the index (at @blocks). `restore` fills in what the file has in these places;
; a bundle of other variables, or a damaged index, then differs from the template.
;
; The data are written beside those that the index speaks of, under the other of two names; the
; index then takes the place of the old one in one step.

${declarations}

@tfc_state_index = internal constant [${length} x i8] c"${template}"
@tfc_state_variables = internal constant [${count} x i32] ${variables}
@tfc_state_sizes = internal constant [${count} x i64] ${sizes}
@tfc_state_holes = internal constant [${count} x i64] ${holes}
@tfc_state_blocks = internal constant [${block_count} x [2 x i64]] ${blocks}
@tfc_state_places = internal constant [${initial_count} x i64] ${places}
@tfc_state_extents = internal constant [${initial_count} x i64] ${extents}
@tfc_state_name_index = internal constant [9 x i8] c"%s.index\00"
@tfc_state_name_temp = internal constant [13 x i8] c"%s.index.tmp\00"
@tfc_state_name_data = internal constant [22 x i8] c"%s.data-00000-of-%05d\00"
@tfc_state_read = internal constant [3 x i8] c"rb\00"
@tfc_state_write = internal constant [3 x i8] c"wb\00"
@tfc_state_here = internal constant [2 x i8] c".\00"

${crc}
; Fill in the checksums of the blocks.
define internal void @tfc_state_seal(ptr %table) nounwind {
entry:
  br label %block
block:
  %k = phi i64 [ 0, %entry ], [ %k1, %block ]
  %start_at = getelementptr [2 x i64], ptr @tfc_state_blocks, i64 %k, i64 0
  %start = load i64, ptr %start_at, align 8
  %end_at = getelementptr [2 x i64], ptr @tfc_state_blocks, i64 %k, i64 1
  %end = load i64, ptr %end_at, align 8
  %size = sub i64 %end, %start
  %from = getelementptr i8, ptr %table, i64 %start
  %crc = call i32 @tfc_crc32c(ptr %from, i64 %size)
  %to = getelementptr i8, ptr %table, i64 %end
  store i32 %crc, ptr %to, align 1
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, ${block_count}
  br i1 %more, label %block, label %end_of_all
end_of_all:
  ret void
}

; A file name; null where there is no memory.
define internal ptr @tfc_state_named(ptr %path, ptr %format, i32 %number) nounwind {
  %length = call i64 @strlen(ptr %path)
  %room = add i64 %length, 64
  %name = call ptr @malloc(i64 %room)
  %none = icmp eq ptr %name, null
  br i1 %none, label %end, label %write
write:
  %written = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %name, i64 %room, ptr %format, ptr %path, i32 %number)
  br label %end
end:
  ret ptr %name
}

; Whether all of a file has reached the disk; it is closed in any case.
define internal i1 @tfc_state_finish(ptr %file) nounwind {
  %flushed = call i32 @fflush(ptr %file)
  %number = call i32 @fileno(ptr %file)
  %synced = call i32 @fsync(i32 %number)
  %closed = call i32 @fclose(ptr %file)
  %a = or i32 %flushed, %synced
  %b = or i32 %a, %closed
  %good = icmp eq i32 %b, 0
  ret i1 %good
}

; Make what happened to names in a file's folder last. A file system that cannot is no error.
define internal void @tfc_state_sync_folder(ptr %path) nounwind {
  %copy = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_index, i32 0)
  %none = icmp eq ptr %copy, null
  br i1 %none, label %out, label %find
find:
  %slash = call ptr @strrchr(ptr %copy, i32 47)
  %inside = icmp ne ptr %slash, null
  br i1 %inside, label %cut, label %open
cut:
  %behind = getelementptr i8, ptr %slash, i64 1   ; the slash stays: it may be all there is
  store i8 0, ptr %behind, align 1
  br label %open
open:
  %folder = phi ptr [ @tfc_state_here, %find ], [ %copy, %cut ]
  %handle = call i32 (ptr, i32, ...) @open(ptr %folder, i32 0)
  %failed = icmp slt i32 %handle, 0
  br i1 %failed, label %done, label %sync
sync:
  %synced = call i32 @fsync(i32 %handle)
  %closed = call i32 @close(i32 %handle)
  br label %done
done:
  call void @free(ptr %copy)
  br label %out
out:
  ret void
}

; How many data files the index speaks of, if that is below 128; else 0. Its first entry is the header.
define internal i32 @tfc_state_shards(ptr %index) nounwind {
entry:
  %start = alloca [8 x i8], align 8
  store i64 0, ptr %start, align 8
  %file = call ptr @fopen(ptr %index, ptr @tfc_state_read)
  %none = icmp eq ptr %file, null
  br i1 %none, label %out, label %look
look:
  %got = call i64 @fread(ptr %start, i64 1, i64 5, ptr %file)
  %closed = call i32 @fclose(ptr %file)
  %tag_at = getelementptr i8, ptr %start, i64 3
  %tag = load i8, ptr %tag_at, align 1
  %count_at = getelementptr i8, ptr %start, i64 4
  %count = load i8, ptr %count_at, align 1
  %is_tag = icmp eq i8 %tag, 8
  %wide = zext i8 %count to i32
  %found = select i1 %is_tag, i32 %wide, i32 0
  ret i32 %found
out:
  ret i32 0
}

define ${linkage}i32 @${name}_init${suffix}(ptr %model) nounwind {
entry:
  %null = icmp eq ptr %model, null
  br i1 %null, label %refuse, label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %on ]
  %left = icmp ult i64 %k, ${initial_count}
  br i1 %left, label %one, label %end
one:
  %index = trunc i64 %k to i32
  %to = call ptr @${name}_${storage}(ptr %model, i32 %index)
  %place_at = getelementptr i64, ptr @tfc_state_places, i64 %k
  %place = load i64, ptr %place_at, align 8
  %size_at = getelementptr i64, ptr @tfc_state_extents, i64 %k
  %size = load i64, ptr %size_at, align 8
  %zero = icmp slt i64 %place, 0
  br i1 %zero, label %clear, label %copy
clear:
  %cleared = call ptr @memset(ptr %to, i32 0, i64 %size)
  br label %on
copy:
  %from = getelementptr i8, ptr ${weights}, i64 %place
  %copied = call ptr @memcpy(ptr %to, ptr %from, i64 %size)
  br label %on
on:
  %k1 = add i64 %k, 1
  br label %next
refuse:
  ret i32 ${null_pointer}
end:
  ret i32 0
}

define ${linkage}i32 @${name}_save${suffix}(ptr %model, ptr %path) nounwind {
entry:
  %no_model = icmp eq ptr %model, null
  %no_path = icmp eq ptr %path, null
  %null = or i1 %no_model, %no_path
  br i1 %null, label %refuse, label %names
refuse:
  ret i32 ${null_pointer}
names:
  %index = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_index, i32 0)
  %no_index = icmp eq ptr %index, null
  br i1 %no_index, label %no_memory, label %others
no_memory:
  ret i32 ${no_memory}
others:
  %old = call i32 @tfc_state_shards(ptr %index)
  %was_one = icmp eq i32 %old, 1
  %shards = select i1 %was_one, i32 2, i32 1
  %other = sub i32 3, %shards
  %temp = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_temp, i32 0)
  %data = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_data, i32 %shards)
  %stale = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_data, i32 %other)
  %table = call ptr @malloc(i64 ${length})
  %no_temp = icmp eq ptr %temp, null
  %no_data = icmp eq ptr %data, null
  %no_stale = icmp eq ptr %stale, null
  %no_table = icmp eq ptr %table, null
  %no_1 = or i1 %no_temp, %no_data
  %no_2 = or i1 %no_stale, %no_table
  %no_3 = or i1 %no_1, %no_2
  br i1 %no_3, label %out, label %begin
begin:
  %filled = call ptr @memcpy(ptr %table, ptr @tfc_state_index, i64 ${length})
  %count_at = getelementptr i8, ptr %table, i64 4
  %count = trunc i32 %shards to i8
  store i8 %count, ptr %count_at, align 1
  %file = call ptr @fopen(ptr %data, ptr @tfc_state_write)
  %no_file = icmp eq ptr %file, null
  br i1 %no_file, label %out, label %next
next:
  %k = phi i64 [ 0, %begin ], [ %k1, %one ]
  %good = phi i1 [ true, %begin ], [ %good1, %one ]
  %left = icmp ult i64 %k, ${count}
  br i1 %left, label %one, label %written
one:
  %which_at = getelementptr i32, ptr @tfc_state_variables, i64 %k
  %which = load i32, ptr %which_at, align 4
  %from = call ptr @${name}_${storage}(ptr %model, i32 %which)
  %size_at = getelementptr i64, ptr @tfc_state_sizes, i64 %k
  %size = load i64, ptr %size_at, align 8
  %put = call i64 @fwrite(ptr %from, i64 1, i64 %size, ptr %file)
  %whole = icmp eq i64 %put, %size
  %good1 = and i1 %good, %whole
  %crc = call i32 @tfc_crc32c(ptr %from, i64 %size)
  %hole_at = getelementptr i64, ptr @tfc_state_holes, i64 %k
  %hole = load i64, ptr %hole_at, align 8
  %to = getelementptr i8, ptr %table, i64 %hole
  store i32 %crc, ptr %to, align 1
  %k1 = add i64 %k, 1
  br label %next
written:
  %on_disk = call i1 @tfc_state_finish(ptr %file)
  %all = and i1 %good, %on_disk
  br i1 %all, label %describe, label %undo
describe:
  call void @tfc_state_seal(ptr %table)
  %second = call ptr @fopen(ptr %temp, ptr @tfc_state_write)
  %no_second = icmp eq ptr %second, null
  br i1 %no_second, label %undo, label %table_out
table_out:
  %put2 = call i64 @fwrite(ptr %table, i64 1, i64 ${length}, ptr %second)
  %on_disk2 = call i1 @tfc_state_finish(ptr %second)
  %whole2 = icmp eq i64 %put2, ${length}
  %all2 = and i1 %whole2, %on_disk2
  br i1 %all2, label %commit, label %undo
commit:
  call void @tfc_state_sync_folder(ptr %path)
  %moved = call i32 @rename(ptr %temp, ptr %index)
  %stayed = icmp ne i32 %moved, 0
  br i1 %stayed, label %undo, label %tidy
tidy:
  call void @tfc_state_sync_folder(ptr %path)
  %removed = call i32 @remove(ptr %stale)
  br label %out
undo:
  %undone = call i32 @remove(ptr %data)
  %undone2 = call i32 @remove(ptr %temp)
  br label %out
out:
  %code = phi i32 [ ${no_memory}, %others ], [ ${file_error}, %begin ], [ 0, %tidy ], [ ${file_error}, %undo ]
  call void @free(ptr %index)
  call void @free(ptr %temp)
  call void @free(ptr %data)
  call void @free(ptr %stale)
  call void @free(ptr %table)
  ret i32 %code
}

; The bytes of a file, at most %most; -1 where it cannot be opened.
define internal i64 @tfc_state_load(ptr %name, ptr %to, i64 %most) nounwind {
  %file = call ptr @fopen(ptr %name, ptr @tfc_state_read)
  %none = icmp eq ptr %file, null
  br i1 %none, label %out, label %read
read:
  %got = call i64 @fread(ptr %to, i64 1, i64 %most, ptr %file)
  %closed = call i32 @fclose(ptr %file)
  ret i64 %got
out:
  ret i64 -1
}

define ${linkage}i32 @${name}_restore${suffix}(ptr %model, ptr %path) nounwind {
entry:
  %no_model = icmp eq ptr %model, null
  %no_path = icmp eq ptr %path, null
  %null = or i1 %no_model, %no_path
  br i1 %null, label %refuse, label %names
refuse:
  ret i32 ${null_pointer}
names:
  %index = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_index, i32 0)
  %found = call ptr @malloc(i64 ${length_1})
  %table = call ptr @malloc(i64 ${length})
  %values = call ptr @malloc(i64 ${total_1})
  %no_index = icmp eq ptr %index, null
  %no_found = icmp eq ptr %found, null
  %no_table = icmp eq ptr %table, null
  %no_values = icmp eq ptr %values, null
  %no_1 = or i1 %no_index, %no_found
  %no_2 = or i1 %no_table, %no_values
  %no_3 = or i1 %no_1, %no_2
  br i1 %no_3, label %out, label %read
read:
  %got = call i64 @tfc_state_load(ptr %index, ptr %found, i64 ${length_1})
  %unread = icmp slt i64 %got, 0
  br i1 %unread, label %out, label %measure
measure:
  %same_length = icmp eq i64 %got, ${length}
  br i1 %same_length, label %fill, label %out
fill:
  %filled = call ptr @memcpy(ptr %table, ptr @tfc_state_index, i64 ${length})
  %count_at = getelementptr i8, ptr %found, i64 4
  %count = load i8, ptr %count_at, align 1
  %count_to = getelementptr i8, ptr %table, i64 4
  store i8 %count, ptr %count_to, align 1
  br label %next
next:
  %k = phi i64 [ 0, %fill ], [ %k1, %one ]
  %left = icmp ult i64 %k, ${count}
  br i1 %left, label %one, label %compare
one:
  %hole_at = getelementptr i64, ptr @tfc_state_holes, i64 %k
  %hole = load i64, ptr %hole_at, align 8
  %hole_from = getelementptr i8, ptr %found, i64 %hole
  %crc = load i32, ptr %hole_from, align 1
  %hole_to = getelementptr i8, ptr %table, i64 %hole
  store i32 %crc, ptr %hole_to, align 1
  %k1 = add i64 %k, 1
  br label %next
compare:
  call void @tfc_state_seal(ptr %table)
  %difference = call i32 @memcmp(ptr %table, ptr %found, i64 ${length})
  %differs = icmp ne i32 %difference, 0
  br i1 %differs, label %out, label %name_data
name_data:
  %shards = zext i8 %count to i32
  %data = call ptr @tfc_state_named(ptr %path, ptr @tfc_state_name_data, i32 %shards)
  %no_data = icmp eq ptr %data, null
  br i1 %no_data, label %out, label %read_data
read_data:
  %got_data = call i64 @tfc_state_load(ptr %data, ptr %values, i64 ${total})
  call void @free(ptr %data)
  %unread_data = icmp slt i64 %got_data, 0
  br i1 %unread_data, label %out, label %measure_data
measure_data:
  %short = icmp ne i64 %got_data, ${total}
  br i1 %short, label %out, label %check
check:
  %c = phi i64 [ 0, %measure_data ], [ %c1, %check_on ]
  %c_offset = phi i64 [ 0, %measure_data ], [ %c_offset1, %check_on ]
  %c_left = icmp ult i64 %c, ${count}
  br i1 %c_left, label %check_one, label %put
check_one:
  %c_size_at = getelementptr i64, ptr @tfc_state_sizes, i64 %c
  %c_size = load i64, ptr %c_size_at, align 8
  %c_from = getelementptr i8, ptr %values, i64 %c_offset
  %c_crc = call i32 @tfc_crc32c(ptr %c_from, i64 %c_size)
  %c_hole_at = getelementptr i64, ptr @tfc_state_holes, i64 %c
  %c_hole = load i64, ptr %c_hole_at, align 8
  %c_place = getelementptr i8, ptr %found, i64 %c_hole
  %c_wanted = load i32, ptr %c_place, align 1
  %c_good = icmp eq i32 %c_crc, %c_wanted
  br i1 %c_good, label %check_on, label %out
check_on:
  %c1 = add i64 %c, 1
  %c_offset1 = add i64 %c_offset, %c_size
  br label %check
put:
  %p = phi i64 [ 0, %check ], [ %p1, %put_one ]
  %p_offset = phi i64 [ 0, %check ], [ %p_offset1, %put_one ]
  %p_left = icmp ult i64 %p, ${count}
  br i1 %p_left, label %put_one, label %out
put_one:
  %p_which_at = getelementptr i32, ptr @tfc_state_variables, i64 %p
  %p_which = load i32, ptr %p_which_at, align 4
  %p_to = call ptr @${name}_${storage}(ptr %model, i32 %p_which)
  %p_size_at = getelementptr i64, ptr @tfc_state_sizes, i64 %p
  %p_size = load i64, ptr %p_size_at, align 8
  %p_from = getelementptr i8, ptr %values, i64 %p_offset
  %p_copied = call ptr @memcpy(ptr %p_to, ptr %p_from, i64 %p_size)
  %p1 = add i64 %p, 1
  %p_offset1 = add i64 %p_offset, %p_size
  br label %put
out:
  %code = phi i32 [ ${no_memory}, %names ], [ ${file_error}, %read ], [ ${other}, %measure ], [ ${other}, %compare ],
    [ ${no_memory}, %name_data ], [ ${file_error}, %read_data ], [ ${damaged}, %measure_data ],
    [ ${damaged}, %check_one ], [ 0, %put ]
  call void @free(ptr %index)
  call void @free(ptr %found)
  call void @free(ptr %table)
  call void @free(ptr %values)
  ret i32 %code
}
