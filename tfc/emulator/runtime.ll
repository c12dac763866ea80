; What surrounds an emulated kernel: the scheduler of its threads, checks of memory, and waiting copies.
;
; Words after a dollar sign are filled in by machine.py from frame.py: slots of the context (words of 8 bytes), fields of
; a thread's frame (bytes), states, and codes of errors. The parts:
;
;   launch    blocks one after another; in each, threads run until all wait or have left. A warp whose threads
;             wait for each other goes on at once; a barrier opens when nothing else can run.
;   check     an access lies in an allocation, is aligned, and races with nobody. A function gives false
;             where it does not, after it has written the error into the context.
;   shadow    two words for each cell of memory: the last write and the last read, as
;             time << 16 | atomic << 15 | thread + 1 (the number 2047 stands for several readers).
;             Time grows at each barrier, so that what came before a barrier is known to be earlier.
;   async     copies that a thread has asked for wait in a queue until it waits for them.

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
  store i64 %mine, ptr %write.place
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

; Arrivals at a named barrier by threads that do not wait.
define void @arrive(ptr %context, i32 %number) nounwind {
  %base = call i64 @slot(ptr %context, i64 $arrivals)
  %table = inttoptr i64 %base to ptr
  %wide = zext i32 %number to i64
  %place = getelementptr i32, ptr %table, i64 %wide
  %old = load i32, ptr %place
  %new = add i32 %old, 1
  store i32 %new, ptr %place
  ret void
}

; The lanes of a warp that its block has.
define internal i32 @present(ptr %context, i64 %first) nounwind {
  %threads = call i64 @slot(ptr %context, i64 $threads)
  %left = sub i64 %threads, %first
  %full = icmp uge i64 %left, 32
  %bits = shl i64 1, %left
  %some = sub i64 %bits, 1
  %narrow = trunc i64 %some to i32
  %mask = select i1 %full, i32 -1, i32 %narrow
  ret i32 %mask
}

define i32 @members(ptr %context, ptr %frame, i32 %mask) nounwind {
  %thread = call i32 @field(ptr %frame, i64 $thread)
  %start = and i32 %thread, -32
  %first = zext i32 %start to i64
  %all = call i32 @present(ptr %context, i64 %first)
  %found = and i32 %mask, %all
  ret i32 %found
}

define i1 @async.copy(ptr %context, ptr %frame, i64 %to, i64 %from, i32 %given, i32 %total, i64 %site) nounwind {
entry:
  %count = call i32 @field(ptr %frame, i64 $queued)
  %room = icmp ult i32 %count, $QUEUE
  br i1 %room, label %put, label %full
put:
  %place = call ptr @queue(ptr %context, ptr %frame, i32 %count)
  store i64 %to, ptr %place
  %from.place = getelementptr i64, ptr %place, i64 1
  store i64 %from, ptr %from.place
  %given.place = getelementptr i32, ptr %place, i64 4
  store i32 %given, ptr %given.place
  %total.place = getelementptr i32, ptr %place, i64 5
  store i32 %total, ptr %total.place
  %group = call i32 @field(ptr %frame, i64 $group)
  %group.place = getelementptr i32, ptr %place, i64 6
  store i32 %group, ptr %group.place
  %more = add i32 %count, 1
  call void @put_field(ptr %frame, i64 $queued, i32 %more)
  ret i1 true
full:
  %said = call i1 @report(ptr %context, ptr %frame, i64 $QUEUE_FULL, i64 %site, i64 %to, i64 $QUEUE)
  ret i1 false
}

define internal ptr @queue(ptr %context, ptr %frame, i32 %index) nounwind {
  %base = call i64 @slot(ptr %context, i64 $queues)
  %thread = call i32 @field(ptr %frame, i64 $thread)
  %wide = zext i32 %thread to i64
  %first = mul i64 %wide, $QUEUE
  %more = zext i32 %index to i64
  %number = add i64 %first, %more
  %offset = mul i64 %number, $QUEUED
  %address = add i64 %base, %offset
  %place = inttoptr i64 %address to ptr
  ret ptr %place
}

; Make the copies of all groups but the last %keep; of all that was asked for where %keep is -1.
define i1 @async.wait(ptr %context, ptr %frame, i32 %keep, i64 %site, i1 %checked) nounwind {
entry:
  %count = call i32 @field(ptr %frame, i64 $queued)
  %group = call i32 @field(ptr %frame, i64 $group)
  %limit = sub i32 %group, %keep
  %shared = call i64 @slot(ptr %context, i64 $shared)
  br label %head
head:
  %k = phi i32 [ 0, %entry ], [ %k.next, %latch ]
  %kept = phi i32 [ 0, %entry ], [ %kept.next, %latch ]
  %more = icmp ult i32 %k, %count
  br i1 %more, label %look, label %done
look:
  %place = call ptr @queue(ptr %context, ptr %frame, i32 %k)
  %group.place = getelementptr i32, ptr %place, i64 6
  %its.group = load i32, ptr %group.place
  %due = icmp slt i32 %its.group, %limit
  br i1 %due, label %check, label %keep.it
check:
  %to = load i64, ptr %place
  %total.place = getelementptr i32, ptr %place, i64 5
  %total = load i32, ptr %total.place
  %total.wide = zext i32 %total to i64
  br i1 %checked, label %ask, label %make
ask:
  %fine = call i1 @check.shared(ptr %context, ptr %frame, i64 %to, i64 %total.wide, i64 %site, i64 1)
  br i1 %fine, label %make, label %bad
make:
  %target.word = add i64 %shared, %to
  %target = inttoptr i64 %target.word to ptr
  %from.place = getelementptr i64, ptr %place, i64 1
  %from.word = load i64, ptr %from.place
  %from = inttoptr i64 %from.word to ptr
  %given.place = getelementptr i32, ptr %place, i64 4
  %given = load i32, ptr %given.place
  %given.wide = zext i32 %given to i64
  call void @llvm.memset.p0.i64(ptr %target, i8 0, i64 %total.wide, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %from, i64 %given.wide, i1 false)
  br label %latch
keep.it:
  %new = call ptr @queue(ptr %context, ptr %frame, i32 %kept)
  call void @llvm.memmove.p0.p0.i64(ptr %new, ptr %place, i64 $QUEUED, i1 false)
  %kept.more = add i32 %kept, 1
  br label %latch
latch:
  %kept.next = phi i32 [ %kept, %make ], [ %kept.more, %keep.it ]
  %k.next = add i32 %k, 1
  br label %head
done:
  call void @put_field(ptr %frame, i64 $queued, i32 %kept)
  ret i1 true
bad:
  ret i1 false
}
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)

; What a thread showed becomes what others see.
define internal void @publish(ptr %frame) alwaysinline nounwind {
  %given = getelementptr i8, ptr %frame, i64 $given
  %seen = getelementptr i8, ptr %frame, i64 $seen
  %words = load <8 x i32>, ptr %given, align 8
  store <8 x i32> %words, ptr %seen, align 8
  ret void
}

define internal i64 @tick(ptr %context) nounwind {
  %time = call i64 @slot(ptr %context, i64 $time)
  %next = add i64 %time, 1
  call void @put(ptr %context, i64 $time, i64 %next)
  ret i64 %next
}

; Let the threads of a warp go on that all of their masks have arrived. Gives 1 if there are some, 0 if not, -1 for an
; error: a thread of a mask has left the kernel.
define internal i32 @release_warp(ptr %context, i64 %first) nounwind {
entry:
  %present = call i32 @present(ptr %context, i64 %first)
  br label %head
head:
  %lane = phi i32 [ 0, %entry ], [ %lane.next, %latch ]
  %released = phi i32 [ 0, %entry ], [ %released.next, %latch ]
  %more = icmp ult i32 %lane, 32
  br i1 %more, label %look, label %done
look:
  %lane.bit = shl i32 1, %lane
  %lane.in = and i32 %lane.bit, %present
  %exists = icmp ne i32 %lane.in, 0
  br i1 %exists, label %state, label %skip
state:
  %lane.wide = zext i32 %lane to i64
  %thread = add i64 %first, %lane.wide
  %frame = call ptr @frame_of(ptr %context, i64 %thread)
  %its.state = call i32 @field(ptr %frame, i64 $state)
  %waits = icmp eq i32 %its.state, $WARP
  br i1 %waits, label %group, label %skip
group:
  %mask.all = call i32 @field(ptr %frame, i64 $mask)
  %mask = and i32 %mask.all, %present
  %pc = call i32 @field(ptr %frame, i64 $pc)
  %fence = call i32 @field(ptr %frame, i64 $count)
  br label %member.head
member.head:
  %j = phi i32 [ 0, %group ], [ %j.next, %member.latch ]
  %j.more = icmp ult i32 %j, 32
  br i1 %j.more, label %member, label %complete
member:
  %j.bit = shl i32 1, %j
  %j.in = and i32 %j.bit, %mask
  %j.asked = icmp ne i32 %j.in, 0
  br i1 %j.asked, label %member.state, label %member.latch
member.state:
  %j.wide = zext i32 %j to i64
  %j.thread = add i64 %first, %j.wide
  %j.frame = call ptr @frame_of(ptr %context, i64 %j.thread)
  %j.state = call i32 @field(ptr %j.frame, i64 $state)
  %j.pc = call i32 @field(ptr %j.frame, i64 $pc)
  %j.mask = call i32 @field(ptr %j.frame, i64 $mask)
  %there = icmp eq i32 %j.state, $WARP
  %same.pc = icmp eq i32 %j.pc, %pc
  %same.mask = icmp eq i32 %j.mask, %mask.all
  %a = and i1 %there, %same.pc
  %b = and i1 %a, %same.mask
  br i1 %b, label %member.latch, label %absent
absent:
  %gone = icmp eq i32 %j.state, $DONE
  br i1 %gone, label %left, label %skip
left:
  %site = call i32 @field(ptr %frame, i64 $flags)
  %site.wide = zext i32 %site to i64
  %said = call i1 @report(ptr %context, ptr %frame, i64 $WARP_DIVERGED, i64 %site.wide, i64 0, i64 %j.thread)
  ret i32 -1
member.latch:
  %j.next = add i32 %j, 1
  br label %member.head
complete:
  %orders = icmp ne i32 %fence, 0
  br i1 %orders, label %ticks, label %free
ticks:
  %now = call i64 @tick(ptr %context)
  br label %free
free:
  %time = phi i64 [ 0, %complete ], [ %now, %ticks ]
  br label %free.head
free.head:
  %m = phi i32 [ 0, %free ], [ %m.next, %free.latch ]
  %m.more = icmp ult i32 %m, 32
  br i1 %m.more, label %free.look, label %next
free.look:
  %m.bit = shl i32 1, %m
  %m.in = and i32 %m.bit, %mask
  %m.asked = icmp ne i32 %m.in, 0
  br i1 %m.asked, label %free.one, label %free.latch
free.one:
  %m.wide = zext i32 %m to i64
  %m.thread = add i64 %first, %m.wide
  %m.frame = call ptr @frame_of(ptr %context, i64 %m.thread)
  call void @publish(ptr %m.frame)
  call void @put_field(ptr %m.frame, i64 $state, i32 $RUNS)
  br i1 %orders, label %free.time, label %free.latch
free.time:
  %m.time = getelementptr i8, ptr %m.frame, i64 $warp_time
  store i64 %time, ptr %m.time
  br label %free.latch
free.latch:
  %m.next = add i32 %m, 1
  br label %free.head
next:
  br label %latch
skip:
  br label %latch
latch:
  %released.next = phi i32 [ 1, %next ], [ %released, %skip ]
  %lane.next = add i32 %lane, 1
  br label %head
done:
  ret i32 %released
}

; Open a barrier at which all have arrived that it waits for. Gives 1 if there is one, 0 if all threads have left,
; -1 for an error: threads wait for what cannot come.
define internal i32 @release_barrier(ptr %context) nounwind {
entry:
  %threads = call i64 @slot(ptr %context, i64 $threads)
  br label %head
head:                                                   ; over barriers, by the first thread that waits at one
  %t = phi i64 [ 0, %entry ], [ %t.next, %latch ]
  %waiting = phi i64 [ -1, %entry ], [ %waiting.next, %latch ]
  %more = icmp ult i64 %t, %threads
  br i1 %more, label %look, label %end
look:
  %frame = call ptr @frame_of(ptr %context, i64 %t)
  %state = call i32 @field(ptr %frame, i64 $state)
  %left = icmp eq i32 %state, $DONE
  br i1 %left, label %skip, label %still
still:
  %number = call i32 @field(ptr %frame, i64 $mask)
  %count = call i32 @field(ptr %frame, i64 $count)
  %pc = call i32 @field(ptr %frame, i64 $pc)
  %at.barrier = icmp eq i32 %state, $BLOCK
  br i1 %at.barrier, label %sum.head, label %skip.waiting
sum.head:                                               ; how many wait at the same, and what they show
  %j = phi i64 [ 0, %still ], [ %j.next, %sum.latch ]
  %arrived = phi i32 [ 0, %still ], [ %arrived.next, %sum.latch ]
  %total = phi i32 [ 0, %still ], [ %total.next, %sum.latch ]
  %strays = phi i64 [ -1, %still ], [ %strays.next, %sum.latch ]
  %j.more = icmp ult i64 %j, %threads
  br i1 %j.more, label %sum, label %decide
sum:
  %j.frame = call ptr @frame_of(ptr %context, i64 %j)
  %j.state = call i32 @field(ptr %j.frame, i64 $state)
  %j.number = call i32 @field(ptr %j.frame, i64 $mask)
  %j.pc = call i32 @field(ptr %j.frame, i64 $pc)
  %j.given = call i32 @field(ptr %j.frame, i64 $given)
  %j.there = icmp eq i32 %j.state, $BLOCK
  %j.same = icmp eq i32 %j.number, %number
  %j.waits = and i1 %j.there, %j.same
  %j.one = zext i1 %j.waits to i32
  %j.shows = select i1 %j.waits, i32 %j.given, i32 0
  %j.here = icmp eq i32 %j.pc, %pc
  %j.joins = and i1 %j.waits, %j.here
  br label %sum.latch
sum.latch:
  %strays.next = select i1 %j.joins, i64 %strays, i64 %j
  %arrived.next = add i32 %arrived, %j.one
  %total.next = add i32 %total, %j.shows
  %j.next = add i64 %j, 1
  br label %sum.head
decide:
  %all = icmp eq i32 %count, 0
  br i1 %all, label %whole, label %part
whole:
  %none.stray = icmp eq i64 %strays, -1
  br i1 %none.stray, label %open, label %diverged
part:
  %base = call i64 @slot(ptr %context, i64 $arrivals)
  %table = inttoptr i64 %base to ptr
  %number.wide = zext i32 %number to i64
  %place = getelementptr i32, ptr %table, i64 %number.wide
  %passing = load i32, ptr %place
  %present = add i32 %arrived, %passing
  %enough = icmp uge i32 %present, %count
  br i1 %enough, label %part.open, label %skip.waiting
part.open:
  store i32 0, ptr %place
  br label %open
open:
  %time = call i64 @tick(ptr %context)
  br label %open.head
open.head:
  %m = phi i64 [ 0, %open ], [ %m.next, %open.latch ]
  %m.more = icmp ult i64 %m, %threads
  br i1 %m.more, label %open.look, label %opened
open.look:
  %m.frame = call ptr @frame_of(ptr %context, i64 %m)
  %m.state = call i32 @field(ptr %m.frame, i64 $state)
  %m.number = call i32 @field(ptr %m.frame, i64 $mask)
  %m.there = icmp eq i32 %m.state, $BLOCK
  %m.same = icmp eq i32 %m.number, %number
  %m.waits = and i1 %m.there, %m.same
  br i1 %m.waits, label %open.one, label %open.latch
open.one:
  call void @put_field(ptr %m.frame, i64 $state, i32 $RUNS)
  call void @put_field(ptr %m.frame, i64 $result, i32 %total)
  call void @put_field(ptr %m.frame, i64 $seen, i32 %arrived)
  %m.block = getelementptr i8, ptr %m.frame, i64 $f_block_time
  store i64 %time, ptr %m.block
  %m.warp = getelementptr i8, ptr %m.frame, i64 $warp_time
  store i64 %time, ptr %m.warp
  br label %open.latch
open.latch:
  %m.next = add i64 %m, 1
  br label %open.head
opened:
  ret i32 1
diverged:
  %site = call i32 @field(ptr %frame, i64 $flags)
  %site.wide = zext i32 %site to i64
  %said = call i1 @report(ptr %context, ptr %frame, i64 $BARRIER_DIVERGED, i64 %site.wide, i64 %t, i64 %strays)
  ret i32 -1
skip:
  br label %latch
skip.waiting:
  br label %latch
latch:
  %waiting.next = phi i64 [ %waiting, %skip ], [ %t, %skip.waiting ]
  %t.next = add i64 %t, 1
  br label %head
end:
  %stuck = icmp ne i64 %waiting, -1
  br i1 %stuck, label %lost, label %over
lost:
  %lost.frame = call ptr @frame_of(ptr %context, i64 %waiting)
  %lost.site = call i32 @field(ptr %lost.frame, i64 $flags)
  %lost.wide = zext i32 %lost.site to i64
  %lost.said = call i1 @report(ptr %context, ptr %lost.frame, i64 $WARP_DIVERGED, i64 %lost.wide, i64 0, i64 -1)
  ret i32 -1
over:
  ret i32 0
}

; All threads of one block, to their ends. Gives 0, or 1 for an error.
define internal i32 @block(ptr %context, ptr %kernel) nounwind {
entry:
  %start = call i64 @tick(ptr %context)
  call void @put(ptr %context, i64 $block_time, i64 %start)
  %threads = call i64 @slot(ptr %context, i64 $threads)
  %nx.wide = call i64 @slot(ptr %context, i64 $ntid_x)
  %ny.wide = call i64 @slot(ptr %context, i64 $ntid_y)
  %nx = trunc i64 %nx.wide to i32
  %ny = trunc i64 %ny.wide to i32
  br label %init
init:
  %i = phi i64 [ 0, %entry ], [ %i.next, %init ]
  %x = phi i32 [ 0, %entry ], [ %x.new, %init ]
  %y = phi i32 [ 0, %entry ], [ %y.new, %init ]
  %z = phi i32 [ 0, %entry ], [ %z.new, %init ]
  %f = call ptr @frame_of(ptr %context, i64 %i)
  call void @llvm.memset.p0.i64(ptr %f, i8 0, i64 $registers, i1 false)
  %number = trunc i64 %i to i32
  call void @put_field(ptr %f, i64 $thread, i32 %number)
  call void @put_field(ptr %f, i64 $tid_x, i32 %x)
  call void @put_field(ptr %f, i64 $tid_y, i32 %y)
  call void @put_field(ptr %f, i64 $tid_z, i32 %z)
  %f.block = getelementptr i8, ptr %f, i64 $f_block_time
  store i64 %start, ptr %f.block
  %f.warp = getelementptr i8, ptr %f, i64 $warp_time
  store i64 %start, ptr %f.warp
  %x.more = add i32 %x, 1
  %x.over = icmp eq i32 %x.more, %nx
  %x.new = select i1 %x.over, i32 0, i32 %x.more
  %carry = zext i1 %x.over to i32
  %y.more = add i32 %y, %carry
  %y.over = icmp eq i32 %y.more, %ny
  %y.new = select i1 %y.over, i32 0, i32 %y.more
  %carry2 = zext i1 %y.over to i32
  %z.new = add i32 %z, %carry2
  %i.next = add i64 %i, 1
  %i.more = icmp ult i64 %i.next, %threads
  br i1 %i.more, label %init, label %round
round:
  br label %warp
warp:                                                   ; each warp as far as it goes
  %first = phi i64 [ 0, %round ], [ %first.next, %warp.done ]
  %end.full = add i64 %first, 32
  %end = call i64 @llvm.umin.i64(i64 %end.full, i64 %threads)
  br label %turn
turn:
  br label %thread
thread:
  %t = phi i64 [ %first, %turn ], [ %t.next, %thread.next ]
  %ran = phi i1 [ false, %turn ], [ %ran.next, %thread.next ]
  %frame = call ptr @frame_of(ptr %context, i64 %t)
  %state = call i32 @field(ptr %frame, i64 $state)
  %runs = icmp eq i32 %state, $RUNS
  br i1 %runs, label %run, label %thread.next
run:
  %code = call i32 %kernel(ptr %context, ptr %frame)
  %bad = icmp ne i32 %code, 0
  br i1 %bad, label %failed, label %thread.next
thread.next:
  %ran.next = phi i1 [ %ran, %thread ], [ true, %run ]
  %t.next = add i64 %t, 1
  %t.more = icmp ult i64 %t.next, %end
  br i1 %t.more, label %thread, label %turned
turned:
  br i1 %ran.next, label %release, label %warp.done
release:
  %freed = call i32 @release_warp(ptr %context, i64 %first)
  %again = icmp sgt i32 %freed, 0
  br i1 %again, label %turn, label %released
released:
  %wrong = icmp slt i32 %freed, 0
  br i1 %wrong, label %failed, label %warp.done
warp.done:
  %first.next = add i64 %first, 32
  %warp.more = icmp ult i64 %first.next, %threads
  br i1 %warp.more, label %warp, label %barrier
barrier:
  %opened = call i32 @release_barrier(ptr %context)
  %open = icmp sgt i32 %opened, 0
  br i1 %open, label %round, label %ended
ended:
  %lost = icmp slt i32 %opened, 0
  br i1 %lost, label %failed, label %done
done:
  ret i32 0
failed:
  ret i32 1
}
declare i64 @llvm.umin.i64(i64, i64)

; All blocks of a grid in order. Gives 0, or 1 for an error, which the context then describes.
define i32 @launch(ptr %context, ptr %kernel) nounwind {
entry:
  %now = call i64 @tick(ptr %context)
  call void @put(ptr %context, i64 $launch_time, i64 %now)
  %nx = call i64 @slot(ptr %context, i64 $nctaid_x)
  %ny = call i64 @slot(ptr %context, i64 $nctaid_y)
  %nz = call i64 @slot(ptr %context, i64 $nctaid_z)
  br label %loop
loop:
  %x = phi i64 [ 0, %entry ], [ %x.new, %next ]
  %y = phi i64 [ 0, %entry ], [ %y.new, %next ]
  %z = phi i64 [ 0, %entry ], [ %z.new, %next ]
  call void @put(ptr %context, i64 $ctaid_x, i64 %x)
  call void @put(ptr %context, i64 $ctaid_y, i64 %y)
  call void @put(ptr %context, i64 $ctaid_z, i64 %z)
  %code = call i32 @block(ptr %context, ptr %kernel)
  %bad = icmp ne i32 %code, 0
  br i1 %bad, label %failed, label %next
next:
  %x.more = add i64 %x, 1
  %x.over = icmp eq i64 %x.more, %nx
  %x.new = select i1 %x.over, i64 0, i64 %x.more
  %carry = zext i1 %x.over to i64
  %y.more = add i64 %y, %carry
  %y.over = icmp eq i64 %y.more, %ny
  %y.new = select i1 %y.over, i64 0, i64 %y.more
  %carry2 = zext i1 %y.over to i64
  %z.new = add i64 %z, %carry2
  %done = icmp eq i64 %z.new, %nz
  br i1 %done, label %fine, label %loop
fine:
  ret i32 0
failed:
  ret i32 1
}
