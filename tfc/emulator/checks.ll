; Checks of an emulated kernel's accesses to memory, and the small functions by which all of the runtime reaches a launch's
; context and a thread's frame. `machine.py` puts `runtime.ll`, which says more, behind this.
;
;   check     an access lies in an allocation, is aligned, and races with nobody. A function gives false
;             where it does not, after it has written the error into the context.
;   shadow    two words for each cell of memory: the last write and the last read, as
;             time << 16 | atomic << 15 | on its way << 14 | thread + 1 (the number 2047 stands for several readers).
;             How an access is made: 0 reads, 1 writes, 2 is atomic, 6 reads so; 9 begins a copy, which 17 ends.
;             Time grows at each barrier, so that what came before a barrier is known to be earlier.

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare float @llvm.fma.f32(float, float, float)

define internal i64 @slot(ptr %context, i64 %number) alwaysinline nounwind {
  %place = getelementptr i64, ptr %context, i64 %number
  %value = load i64, ptr %place
  ret i64 %value
}

define internal void @put(ptr %context, i64 %number, i64 %value) alwaysinline nounwind {
  %place = getelementptr i64, ptr %context, i64 %number
  store i64 %value, ptr %place
  ret void
}

define internal i32 @field(ptr %frame, i64 %offset) alwaysinline nounwind {
  %place = getelementptr i8, ptr %frame, i64 %offset
  %value = load i32, ptr %place
  ret i32 %value
}

define internal void @put_field(ptr %frame, i64 %offset, i32 %value) alwaysinline nounwind {
  %place = getelementptr i8, ptr %frame, i64 %offset
  store i32 %value, ptr %place
  ret void
}

define internal i64 @field64(ptr %frame, i64 %offset) alwaysinline nounwind {
  %place = getelementptr i8, ptr %frame, i64 %offset
  %value = load i64, ptr %place
  ret i64 %value
}

define internal ptr @frame_of(ptr %context, i64 %thread) alwaysinline nounwind {
  %base = call i64 @slot(ptr %context, i64 $frames)
  %size = call i64 @slot(ptr %context, i64 $frame_size)
  %offset = mul i64 %size, %thread
  %address = add i64 %base, %offset
  %frame = inttoptr i64 %address to ptr
  ret ptr %frame
}

define i1 @report(ptr %context, ptr %frame, i64 %code, i64 %site, i64 %address, i64 %other) noinline cold nounwind {
  %thread = call i32 @field(ptr %frame, i64 $thread)
  %wide = zext i32 %thread to i64
  call void @put(ptr %context, i64 $error, i64 %code)
  call void @put(ptr %context, i64 $error_site, i64 %site)
  call void @put(ptr %context, i64 $error_thread, i64 %wide)
  call void @put(ptr %context, i64 $error_address, i64 %address)
  call void @put(ptr %context, i64 $error_other, i64 %other)
  ret i1 false
}

; Whether an earlier access may be seen by this one: true unless it is one of another thread that
; nothing has ordered before.
define internal i1 @ordered(ptr %context, ptr %frame, i64 %record, i64 %since, i64 %how) nounwind {
entry:
  %time = lshr i64 %record, 16
  %old = icmp ult i64 %time, %since
  br i1 %old, label %yes, label %atomic
atomic:
  %mine.atomic = and i64 %how, 2
  %shifted = shl i64 %mine.atomic, 14
  %both = and i64 %shifted, %record
  %both.atomic = icmp ne i64 %both, 0
  br i1 %both.atomic, label %yes, label %block
block:
  %start = call i64 @slot(ptr %context, i64 $block_time)
  %earlier.block = icmp ult i64 %time, %start
  br i1 %earlier.block, label %other, label %same
other:
  %fenced = call i64 @field64(ptr %frame, i64 $fenced)
  %has.fenced = icmp ne i64 %fenced, 0
  ret i1 %has.fenced
same:
  %whose = and i64 %record, 2047
  %thread = call i32 @field(ptr %frame, i64 $thread)
  %wide = zext i32 %thread to i64
  %me = add i64 %wide, 1
  %is.me = icmp eq i64 %whose, %me
  br i1 %is.me, label %yes, label %barrier
barrier:
  %since.barrier = call i64 @field64(ptr %frame, i64 $f_block_time)
  %before.barrier = icmp ult i64 %time, %since.barrier
  br i1 %before.barrier, label %yes, label %warp
warp:
  %from.zero = sub i64 %whose, 1
  %their.warp = lshr i64 %from.zero, 5
  %my.warp = lshr i64 %wide, 5
  %same.warp = icmp eq i64 %their.warp, %my.warp
  %since.warp = call i64 @field64(ptr %frame, i64 $warp_time)
  %before.warp = icmp ult i64 %time, %since.warp
  %fine = and i1 %same.warp, %before.warp
  ret i1 %fine
yes:
  ret i1 true
}

; Look at the cells of an access and note it in them.
define internal i1 @race(ptr %context, ptr %frame, ptr %cells, i64 %count, i64 %site, i64 %address, i64 %how, i64 %since, i1 %must.be.written) noinline nounwind {
entry:
  %now = call i64 @slot(ptr %context, i64 $time)
  %thread = call i32 @field(ptr %frame, i64 $thread)
  %wide = zext i32 %thread to i64
  %me = add i64 %wide, 1
  %atomic = and i64 %how, 2
  %atomic.bit = shl i64 %atomic, 14
  %time = shl i64 %now, 16
  %mine0 = or i64 %time, %atomic.bit
  %mine = or i64 %mine0, %me
  %begins = and i64 %how, 8
  %way.bit = shl i64 %begins, 11
  %mine.written = or i64 %mine, %way.bit
  %ends = and i64 %how, 16
  %no.end = icmp eq i64 %ends, 0
  %kind = and i64 %how, 7
  %reads0 = icmp eq i64 %kind, 0
  %reads1 = icmp eq i64 %kind, 6
  %reads = or i1 %reads0, %reads1
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %next, %latch ]
  %index = shl i64 %k, 1
  %write.place = getelementptr i64, ptr %cells, i64 %index
  %read.place = getelementptr i64, ptr %write.place, i64 1
  %write = load i64, ptr %write.place
  %read = load i64, ptr %read.place
  %on.way = and i64 %write, 16384
  %is.on.way = icmp ne i64 %on.way, 0
  %write.when = lshr i64 %write, 16
  %now.or.so = icmp uge i64 %write.when, %since
  %too.early0 = and i1 %is.on.way, %now.or.so
  %too.early = and i1 %too.early0, %no.end
  br i1 %too.early, label %early, label %arrived
arrived:
  %write.ok = call i1 @ordered(ptr %context, ptr %frame, i64 %write, i64 %since, i64 %how)
  br i1 %write.ok, label %written, label %conflict
written:
  br i1 %reads, label %reading, label %writing
reading:
  %write.time = lshr i64 %write, 16
  %never = icmp ult i64 %write.time, %since
  %bad = and i1 %never, %must.be.written
  br i1 %bad, label %uninitialised, label %note.read
note.read:
  %read.time = lshr i64 %read, 16
  %since.barrier = call i64 @field64(ptr %frame, i64 $f_block_time)
  %recent = icmp uge i64 %read.time, %since.barrier
  %reader = and i64 %read, 2047
  %another = icmp ne i64 %reader, %me
  %several = and i1 %recent, %another
  %many = or i64 %mine, 2047
  %noted = select i1 %several, i64 %many, i64 %mine
  store i64 %noted, ptr %read.place
  br label %latch
writing:
  %read.ok = call i1 @ordered(ptr %context, ptr %frame, i64 %read, i64 %since, i64 %how)
  br i1 %read.ok, label %note.write, label %overwritten
note.write:
  store i64 %mine.written, ptr %write.place
  br label %latch
latch:
  %next = add i64 %k, 1
  %again = icmp ult i64 %next, %count
  br i1 %again, label %loop, label %fine
fine:
  ret i1 true
conflict:
  %code = select i1 %reads, i64 $READ_AFTER_WRITE, i64 $WRITE_AFTER_WRITE
  %who = and i64 %write, 2047
  %said1 = call i1 @report(ptr %context, ptr %frame, i64 %code, i64 %site, i64 %address, i64 %who)
  ret i1 false
early:
  %whose = and i64 %write, 2047
  %said0 = call i1 @report(ptr %context, ptr %frame, i64 $ON_ITS_WAY, i64 %site, i64 %address, i64 %whose)
  ret i1 false
overwritten:
  %who.read = and i64 %read, 2047
  %said2 = call i1 @report(ptr %context, ptr %frame, i64 $WRITE_AFTER_READ, i64 %site, i64 %address, i64 %who.read)
  ret i1 false
uninitialised:
  %said3 = call i1 @report(ptr %context, ptr %frame, i64 $UNINITIALISED, i64 %site, i64 %address, i64 0)
  ret i1 false
}

define internal i1 @aligned(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site) nounwind {
entry:
  %mask = sub i64 %size, 1
  %rest = and i64 %address, %mask
  %fine = icmp eq i64 %rest, 0
  br i1 %fine, label %yes, label %no
yes:
  ret i1 true
no:
  %said = call i1 @report(ptr %context, ptr %frame, i64 $MISALIGNED, i64 %site, i64 %address, i64 %size)
  ret i1 false
}

define i1 @check.shared(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how) noinline nounwind {
entry:
  %fits = call i1 @aligned(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site)
  br i1 %fits, label %bounds, label %no
bounds:
  %limit = call i64 @slot(ptr %context, i64 $shared_size)
  %end = add i64 %address, %size
  %above = icmp uge i64 %end, %address
  %below = icmp ule i64 %end, %limit
  %inside = and i1 %above, %below
  br i1 %inside, label %shadow, label %outside
shadow:
  %table = call i64 @slot(ptr %context, i64 $shared_shadow)
  %grain = call i64 @slot(ptr %context, i64 $granule)
  %grain.shared = and i64 %grain, 15
  %cell = lshr i64 %address, %grain.shared
  %count = lshr i64 %size, %grain.shared
  %bytes = shl i64 %cell, 4
  %where = add i64 %table, %bytes
  %cells = inttoptr i64 %where to ptr
  %since = call i64 @slot(ptr %context, i64 $block_time)
  %found = call i1 @race(ptr %context, ptr %frame, ptr %cells, i64 %count, i64 %site, i64 %address, i64 %how, i64 %since, i1 true)
  ret i1 %found
outside:
  %said = call i1 @report(ptr %context, ptr %frame, i64 $OUTSIDE_SHARED, i64 %site, i64 %address, i64 %limit)
  ret i1 false
no:
  ret i1 false
}

; The entry of the table of allocations that all of an access lies in, or null.
define internal ptr @allocation(ptr %context, i64 %address, i64 %size) nounwind {
entry:
  %end = add i64 %address, %size
  %hit.word = call i64 @slot(ptr %context, i64 $hit)
  %hit = inttoptr i64 %hit.word to ptr
  %hit.low = load i64, ptr %hit
  %hit.end.place = getelementptr i64, ptr %hit, i64 1
  %hit.end = load i64, ptr %hit.end.place
  %hit.above = icmp uge i64 %address, %hit.low
  %hit.below = icmp ule i64 %end, %hit.end
  %hits = and i1 %hit.above, %hit.below
  br i1 %hits, label %known, label %search
known:
  ret ptr %hit
search:
  %table.word = call i64 @slot(ptr %context, i64 $table)
  %table = inttoptr i64 %table.word to ptr
  %count = call i64 @slot(ptr %context, i64 $table_size)
  br label %head
head:
  %k = phi i64 [ 0, %search ], [ %next, %latch ]
  %more = icmp ult i64 %k, %count
  br i1 %more, label %look, label %none
look:
  %offset = mul i64 %k, 3
  %entry.place = getelementptr i64, ptr %table, i64 %offset
  %low = load i64, ptr %entry.place
  %end.place = getelementptr i64, ptr %entry.place, i64 1
  %high = load i64, ptr %end.place
  %above = icmp uge i64 %address, %low
  %below = icmp ule i64 %end, %high
  %inside = and i1 %above, %below
  br i1 %inside, label %found, label %latch
latch:
  %next = add i64 %k, 1
  br label %head
found:
  %word = ptrtoint ptr %entry.place to i64
  call void @put(ptr %context, i64 $hit, i64 %word)
  ret ptr %entry.place
none:
  ret ptr null
}

define internal i1 @check.bytes(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how) noinline nounwind {
entry:
  %found = call ptr @allocation(ptr %context, i64 %address, i64 %size)
  %none = icmp eq ptr %found, null
  br i1 %none, label %outside, label %inside
inside:
  %shadow.place = getelementptr i64, ptr %found, i64 2
  %shadow = load i64, ptr %shadow.place
  %unwatched = icmp eq i64 %shadow, 0
  br i1 %unwatched, label %fine, label %watch
watch:
  %low = load i64, ptr %found
  %offset = sub i64 %address, %low
  %grains = call i64 @slot(ptr %context, i64 $granule)
  %grain = lshr i64 %grains, 4
  %cell = lshr i64 %offset, %grain
  %all = lshr i64 %size, %grain
  %count = call i64 @llvm.umax.i64(i64 %all, i64 1)
  %bytes = shl i64 %cell, 4
  %where = add i64 %shadow, %bytes
  %cells = inttoptr i64 %where to ptr
  %since = call i64 @slot(ptr %context, i64 $launch_time)
  %result = call i1 @race(ptr %context, ptr %frame, ptr %cells, i64 %count, i64 %site, i64 %address, i64 %how, i64 %since, i1 false)
  ret i1 %result
fine:
  ret i1 true
outside:
  %said = call i1 @report(ptr %context, ptr %frame, i64 $OUTSIDE, i64 %site, i64 %address, i64 %size)
  ret i1 false
}
declare i64 @llvm.umax.i64(i64, i64)

define i1 @check.global(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how) nounwind {
entry:
  %fits = call i1 @aligned(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site)
  br i1 %fits, label %bounds, label %no
bounds:
  %result = call i1 @check.bytes(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how)
  ret i1 %result
no:
  ret i1 false
}

; The source of an asynchronous copy: aligned to all of it, read in part.
define i1 @check.source(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %read, i64 %site) nounwind {
entry:
  %fits = call i1 @aligned(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site)
  br i1 %fits, label %bounds, label %no
bounds:
  %result = call i1 @check.bytes(ptr %context, ptr %frame, i64 %address, i64 %read, i64 %site, i64 0)
  ret i1 %result
no:
  ret i1 false
}

define i1 @check.generic(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how) nounwind {
entry:
  %shared = call i64 @slot(ptr %context, i64 $shared)
  %shared.size = call i64 @slot(ptr %context, i64 $shared_size)
  %offset = sub i64 %address, %shared
  %is.shared = icmp ult i64 %offset, %shared.size
  br i1 %is.shared, label %in.shared, label %local
in.shared:
  %first = call i1 @check.shared(ptr %context, ptr %frame, i64 %offset, i64 %size, i64 %site, i64 %how)
  ret i1 %first
local:
  %locals = call i64 @slot(ptr %context, i64 $locals)
  %local.size = call i64 @slot(ptr %context, i64 $local_size)
  %threads = call i64 @slot(ptr %context, i64 $threads)
  %all = mul i64 %local.size, %threads
  %distance = sub i64 %address, %locals
  %is.local = icmp ult i64 %distance, %all
  br i1 %is.local, label %in.local, label %global
in.local:
  ret i1 true
global:
  %second = call i1 @check.global(ptr %context, ptr %frame, i64 %address, i64 %size, i64 %site, i64 %how)
  ret i1 %second
}

define i1 @check.local(ptr %context, ptr %frame, i1 %inside, i64 %site, i64 %address) nounwind {
entry:
  br i1 %inside, label %yes, label %no
yes:
  ret i1 true
no:
  %said = call i1 @report(ptr %context, ptr %frame, i64 $OUTSIDE_LOCAL, i64 %site, i64 %address, i64 0)
  ret i1 false
}
