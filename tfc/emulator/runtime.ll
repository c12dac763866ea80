; What surrounds an emulated kernel: the scheduler of its threads, and waiting copies. Checks are in `checks.ll`.
;
; Words after a dollar sign are filled in by machine.py from frame.py: slots of the context (words of 8 bytes), fields of
; a thread's frame (bytes), states, and codes of errors. The parts:
;
;   launch    blocks one after another; in each, threads run until all wait or have left. A warp whose threads
;             wait for each other goes on at once; a barrier opens when nothing else can run.
;   async     copies that a thread has asked for wait in a queue until it waits for them.

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
  %fine = call i1 @check.shared(ptr %context, ptr %frame, i64 %to, i64 %total.wide, i64 %site, i64 17)
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
