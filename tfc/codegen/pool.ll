; A fork-join thread pool: one in each shared object, shared by all models' handles in it.
;
; Words after a dollar sign are filled in by pool.py. The parts:
;
;   state   generation:32 | limit:15 | open:1 | active:16, one atomic word. A job is offered by a
;           store of a new generation with the open bit; a worker whose number is below the limit
;           joins by counting itself active in the same word, which succeeds only while the job
;           is open. So the fields of a job are stable for whoever joined, and the caller never
;           waits for a worker that has not woken up: it does the work itself.
;   next    for each member of the team, the first iteration of its share that nobody has taken. Everyone takes
;           chunks of his own share, which is the same part of every job, so that what a kernel has written is
;           where the next one reads it, and then of others'.
;   sleep   an idle worker watches `state` for ${spin_ns} ns, then waits on a condition. Each side
;           first announces (sleepers, state), then looks (state, sleepers), all seq_cst, so
;           that no wake-up is lost. The caller waits for the active ones in the same way.
;   cores   where the machine is busy, a worker may stand in line behind somebody else while it holds
;           a chunk, or behind the caller, whom it then keeps from working. So a worker that finds
;           itself on the caller's core goes to another, and a caller that has waited for ${spin_ns} ns
;           calls those that are at work, but whose processor time stands still, to its own core.
;   busy    a run that finds the pool at work executes serially.
;   kept    workers with a number from here on end; so do those of a request that failed half-way.
;   users   handles that hold threads. The last one to go joins the workers, so a shared object
;           can be unloaded. A forked child has no workers: its runs are serial until it makes
;           a handle of its own.

; Of a worker: its number in the system, whether it is at work and whether it was called away, where it may run.
%tfc_place = type { i32, i32, i32, [13 x i32], [16 x i64], [64 x i8] }

@tfc_state = internal global i64 0, align 64
@tfc_next = internal global [${max_threads} x [8 x i64]] zeroinitializer, align 64
@tfc_job = internal global [6 x i64] zeroinitializer, align 64
@tfc_core = internal global i32 0, align 4
@tfc_busy = internal global i32 0, align 64
@tfc_sleepers = internal global i32 0, align 64
@tfc_waiting = internal global i32 0, align 4
@tfc_kept = internal global i32 ${max_threads}, align 4
@tfc_admin = internal global i32 0, align 64
@tfc_users = internal global i32 0, align 4
@tfc_workers = internal global i32 0, align 4
@tfc_owner = internal global i32 0, align 4
@tfc_mutex = internal global [64 x i8] zeroinitializer, align 64
@tfc_wake = internal global [64 x i8] zeroinitializer, align 64
@tfc_done = internal global [64 x i8] zeroinitializer, align 64
@tfc_places = internal global [${max_threads} x %tfc_place] zeroinitializer, align 64
@tfc_handles = internal global [${max_threads} x i64] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr) nounwind
declare i32 @pthread_join(i64, ptr) nounwind
declare i32 @pthread_sigmask(i32, ptr, ptr) nounwind
declare i32 @pthread_mutex_init(ptr, ptr) nounwind
declare i32 @pthread_mutex_lock(ptr) nounwind
declare i32 @pthread_mutex_unlock(ptr) nounwind
declare i32 @pthread_cond_init(ptr, ptr) nounwind
declare i32 @pthread_cond_wait(ptr, ptr) nounwind
declare i32 @pthread_cond_signal(ptr) nounwind
declare i32 @pthread_cond_broadcast(ptr) nounwind
declare i32 @clock_gettime(i32, ptr) nounwind
declare i32 @sched_yield() nounwind
declare i32 @getpid() nounwind
${cores}
${declarations}

define internal i64 @tfc_now() nounwind {
  %now = call i64 @tfc_clock(i32 ${monotonic})
  ret i64 %now
}

; Nanoseconds on a clock; always the same where there is no such clock.
define internal i64 @tfc_clock(i32 %clock) nounwind {
  %time = alloca [2 x i64], align 8
  store [2 x i64] zeroinitializer, ptr %time, align 8
  %ok = call i32 @clock_gettime(i32 %clock, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %at = getelementptr i64, ptr %time, i64 1
  %nanos = load i64, ptr %at, align 8
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %nanos
  ret i64 %now
}

; About a tenth of a microsecond of doing nothing.
define internal void @tfc_relax() nounwind {
entry:
  br label %again
again:
  %i = phi i32 [ 0, %entry ], [ %n, %again ]
  ${pause}
  %n = add i32 %i, 1
  %more = icmp ult i32 %n, 2
  br i1 %more, label %again, label %exit
exit:
  ret void
}

; Whether worker %index may join what %state offers, having last joined generation %last.
define internal i1 @tfc_joinable(i64 %state, i64 %last, i64 %index) nounwind {
  %generation = lshr i64 %state, 32
  %new = icmp ne i64 %generation, %last
  %flag = and i64 %state, 65536
  %open = icmp ne i64 %flag, 0
  %shifted = lshr i64 %state, 17
  %limit = and i64 %shifted, 32767
  %wanted = icmp ult i64 %index, %limit
  %a = and i1 %new, %open
  %b = and i1 %a, %wanted
  ret i1 %b
}

; Take chunks of the job until none is left: of the share of member %first of the team, then of the next ones'.
define internal void @tfc_work(i64 %first) nounwind {
entry:
  %p_args = getelementptr i64, ptr @tfc_job, i64 1
  %p_n = getelementptr i64, ptr @tfc_job, i64 2
  %p_chunk = getelementptr i64, ptr @tfc_job, i64 3
  %p_share = getelementptr i64, ptr @tfc_job, i64 4
  %p_team = getelementptr i64, ptr @tfc_job, i64 5
  %fn = load ptr, ptr @tfc_job, align 8
  %args = load ptr, ptr %p_args, align 8
  %n = load i64, ptr %p_n, align 8
  %chunk = load i64, ptr %p_chunk, align 8
  %share = load i64, ptr %p_share, align 8
  %team = load i64, ptr %p_team, align 8
  %final = sub i64 %team, 1
  br label %turn
turn:
  %k = phi i64 [ 0, %entry ], [ %k1, %through ]
  %member = phi i64 [ %first, %entry ], [ %following, %through ]
  %next = getelementptr [8 x i64], ptr @tfc_next, i64 %member
  %last = icmp eq i64 %member, %final
  %after = add i64 %member, 1
  %bound = mul i64 %after, %share
  %end = select i1 %last, i64 %n, i64 %bound
  br label %look
look:
  %at = load atomic i64, ptr %next monotonic, align 8
  %left = icmp slt i64 %at, %end
  br i1 %left, label %take, label %through
take:
  %lo = atomicrmw add ptr %next, i64 %chunk monotonic
  %some = icmp slt i64 %lo, %end
  br i1 %some, label %run, label %through
run:
  %to = add i64 %lo, %chunk
  %over = icmp sgt i64 %to, %end
  %hi = select i1 %over, i64 %end, i64 %to
  call void %fn(ptr %args, i64 %lo, i64 %hi)
  br label %look
through:
  %following = select i1 %last, i64 0, i64 %after
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k1, %team
  br i1 %more, label %turn, label %exit
exit:
  ret void
}

; Whether the set of cores %set has core %core, and a set without the others; one with all but it if %but.
define internal i1 @tfc_cores(ptr %set, i32 %core, ptr %result, i1 %but) nounwind {
entry:
  %low = icmp ult i32 %core, 1024
  br i1 %low, label %copy, label %none
copy:
  %word = lshr i32 %core, 6
  %bit = and i32 %core, 63
  %bit64 = zext i32 %bit to i64
  %one = shl i64 1, %bit64
  br label %fill
fill:
  %k = phi i32 [ 0, %copy ], [ %k1, %fill ]
  %from = getelementptr i64, ptr %set, i32 %k
  %to = getelementptr i64, ptr %result, i32 %k
  %all = load i64, ptr %from, align 8
  %here = icmp eq i32 %k, %word
  %single = select i1 %here, i64 %one, i64 0
  %rest = xor i64 %single, -1
  %wanted = select i1 %but, i64 %rest, i64 %single
  %kept = and i64 %all, %wanted
  store i64 %kept, ptr %to, align 8
  %k1 = add i32 %k, 1
  %done = icmp eq i32 %k1, 16
  br i1 %done, label %look, label %fill
look:
  %place = getelementptr i64, ptr %set, i32 %word
  %was = load i64, ptr %place, align 8
  %masked = and i64 %was, %one
  %has = icmp ne i64 %masked, 0
  ret i1 %has
none:
  ret i1 false
}

; Go to another core than %core, where there is one that this thread may use.
define internal void @tfc_leave(i32 %core) nounwind {
entry:
  %all = alloca [16 x i64], align 8
  %others = alloca [16 x i64], align 8
  %got = call i32 @sched_getaffinity(i32 0, i64 128, ptr %all)
  %known = icmp sge i32 %got, 0
  br i1 %known, label %choose, label %exit
choose:
  %has = call i1 @tfc_cores(ptr %all, i32 %core, ptr %others, i1 true)
  br i1 %has, label %go, label %exit
go:
  %moved = call i32 @sched_setaffinity(i32 0, i64 128, ptr %others)
  %back = call i32 @sched_setaffinity(i32 0, i64 128, ptr %all)
  br label %exit
exit:
  ret void
}

; Call the workers that are at work, and wait for a core, to this one, which the caller is about to leave idle.
define internal void @tfc_call() nounwind {
entry:
  %here = alloca [16 x i64], align 8
  %owner = load i32, ptr @tfc_owner, align 4
  %self = call i32 @getpid()
  %ours = icmp eq i32 %owner, %self
  br i1 %ours, label %find, label %exit
find:
  %core = call i32 @sched_getcpu()
  %workers = load i32, ptr @tfc_workers, align 4
  br label %next
next:
  %k = phi i32 [ 0, %find ], [ %k1, %skip ]
  %more = icmp slt i32 %k, %workers
  br i1 %more, label %look, label %exit
look:
  %place = getelementptr %tfc_place, ptr @tfc_places, i32 %k
  %p_busy = getelementptr %tfc_place, ptr %place, i32 0, i32 1
  %busy = load atomic i32, ptr %p_busy seq_cst, align 4
  %works = icmp ne i32 %busy, 0
  br i1 %works, label %where, label %skip
where:
  %id = load i32, ptr %place, align 4
  %flipped = xor i32 %id, -1
  %high = shl i32 %flipped, 3
  %clock = or i32 %high, 6 ; of the processor time of a thread
  %first = call i64 @tfc_clock(i32 %clock)
  br label %watch
watch:
  %i = phi i32 [ 0, %where ], [ %i1, %watch ]
  call void @tfc_relax()
  %i1 = add i32 %i, 1
  %again = icmp ult i32 %i1, 200
  br i1 %again, label %watch, label %compare
compare:
  %second = call i64 @tfc_clock(i32 %clock)
  %stands = icmp eq i64 %first, %second
  br i1 %stands, label %ask, label %skip
ask:
  %p_set = getelementptr %tfc_place, ptr %place, i32 0, i32 4
  %got = call i32 @sched_getaffinity(i32 %id, i64 128, ptr %p_set)
  %known = icmp sge i32 %got, 0
  br i1 %known, label %may, label %skip
may:
  %has = call i1 @tfc_cores(ptr %p_set, i32 %core, ptr %here, i1 false)
  br i1 %has, label %come, label %skip
come:
  %p_called = getelementptr %tfc_place, ptr %place, i32 0, i32 2
  store i32 1, ptr %p_called, align 4
  %moved = call i32 @sched_setaffinity(i32 %id, i64 128, ptr %here)
  br label %skip
skip:
  %k1 = add i32 %k, 1
  br label %next
exit:
  ret void
}

; Let the workers that were called run where they did.
define internal void @tfc_dismiss() nounwind {
entry:
  %workers = load i32, ptr @tfc_workers, align 4
  br label %next
next:
  %k = phi i32 [ 0, %entry ], [ %k1, %skip ]
  %more = icmp slt i32 %k, %workers
  br i1 %more, label %look, label %exit
look:
  %place = getelementptr %tfc_place, ptr @tfc_places, i32 %k
  %p_called = getelementptr %tfc_place, ptr %place, i32 0, i32 2
  %called = load i32, ptr %p_called, align 4
  %was = icmp ne i32 %called, 0
  br i1 %was, label %back, label %skip
back:
  store i32 0, ptr %p_called, align 4
  %id = load i32, ptr %place, align 4
  %p_set = getelementptr %tfc_place, ptr %place, i32 0, i32 4
  %moved = call i32 @sched_setaffinity(i32 %id, i64 128, ptr %p_set)
  br label %skip
skip:
  %k1 = add i32 %k, 1
  br label %next
exit:
  ret void
}

define internal ptr @tfc_worker(ptr %number) nounwind {
entry:
  %index = ptrtoint ptr %number to i64
  %place = getelementptr %tfc_place, ptr @tfc_places, i64 %index
  %p_busy = getelementptr %tfc_place, ptr %place, i32 0, i32 1
  %member = add i64 %index, 1
  %id = call i32 @tfc_thread()
  store i32 %id, ptr %place, align 4
  br label %idle
idle:
  %last = phi i64 [ 0, %entry ], [ %last, %retry ], [ %mine, %do ], [ %mine, %tell ]
  %start = call i64 @tfc_now()
  %deadline = add i64 %start, ${spin_ns}
  br label %watch
watch:
  %s1 = load atomic i64, ptr @tfc_state seq_cst, align 8
  %j1 = call i1 @tfc_joinable(i64 %s1, i64 %last, i64 %index)
  br i1 %j1, label %join, label %spin
spin:
  call void @tfc_relax()
  %now = call i64 @tfc_now()
  %late = icmp sgt i64 %now, %deadline
  br i1 %late, label %sleep, label %watch
sleep:
  %l1 = call i32 @pthread_mutex_lock(ptr @tfc_mutex)
  %more = atomicrmw add ptr @tfc_sleepers, i32 1 seq_cst
  br label %check
check:
  %s2 = load atomic i64, ptr @tfc_state seq_cst, align 8
  %j2 = call i1 @tfc_joinable(i64 %s2, i64 %last, i64 %index)
  %kept = load atomic i32, ptr @tfc_kept seq_cst, align 4
  %kept64 = sext i32 %kept to i64
  %stop = icmp sge i64 %index, %kept64
  %up = or i1 %j2, %stop
  br i1 %up, label %awake, label %wait
wait:
  %w = call i32 @pthread_cond_wait(ptr @tfc_wake, ptr @tfc_mutex)
  br label %check
awake:
  %less = atomicrmw sub ptr @tfc_sleepers, i32 1 seq_cst
  %l2 = call i32 @pthread_mutex_unlock(ptr @tfc_mutex)
  br i1 %stop, label %exit, label %join
join:
  %s = phi i64 [ %s1, %watch ], [ %s2, %awake ], [ %s3, %retry ]
  %counted = add i64 %s, 1
  %pair = cmpxchg ptr @tfc_state, i64 %s, i64 %counted seq_cst seq_cst
  %in = extractvalue { i64, i1 } %pair, 1
  br i1 %in, label %run, label %retry
retry:
  %s3 = load atomic i64, ptr @tfc_state seq_cst, align 8
  %j3 = call i1 @tfc_joinable(i64 %s3, i64 %last, i64 %index)
  br i1 %j3, label %join, label %idle
run:
  %mine = lshr i64 %s, 32
  store atomic i32 1, ptr %p_busy seq_cst, align 4
  %caller = load i32, ptr @tfc_core, align 4
  %core = call i32 @sched_getcpu()
  %same = icmp eq i32 %core, %caller
  br i1 %same, label %apart, label %do
apart:
  call void @tfc_leave(i32 %core)
  br label %do
do:
  call void @tfc_work(i64 %member)
  store atomic i32 0, ptr %p_busy seq_cst, align 4
  %left = atomicrmw sub ptr @tfc_state, i64 1 seq_cst
  %waiting = load atomic i32, ptr @tfc_waiting seq_cst, align 4
  %someone = icmp ne i32 %waiting, 0
  br i1 %someone, label %tell, label %idle
tell:
  %l3 = call i32 @pthread_mutex_lock(ptr @tfc_mutex)
  %t = call i32 @pthread_cond_signal(ptr @tfc_done)
  %l4 = call i32 @pthread_mutex_unlock(ptr @tfc_mutex)
  br label %idle
exit:
  ret ptr null
}

; Run fn(args, lo, hi) over all of 0 <= i < n on up to %threads threads, at least %grain at a time.
define ${linkage} void @tfc_parallel(ptr %fn, ptr %args, i64 %n, i64 %grain, i32 %threads) nounwind {
entry:
  %several = icmp sgt i32 %threads, 1
  %large = icmp sgt i64 %n, %grain
  %worth = and i1 %several, %large
  br i1 %worth, label %ask, label %serial
ask:
  %pair = cmpxchg ptr @tfc_busy, i32 0, i32 1 seq_cst seq_cst
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %offer, label %serial
serial:
  call void %fn(ptr %args, i64 0, i64 %n)
  ret void
offer:
  ; As many as have a grain each. Chunks are whole fractions of a fair share, a sixteenth where a grain allows
  ; it: all get equally many, and the last ones even out the threads' speeds.
  %n_up = add i64 %n, %grain
  %n_round = sub i64 %n_up, 1
  %grains = sdiv i64 %n_round, %grain
  %threads64 = sext i32 %threads to i64
  %few = icmp slt i64 %grains, %threads64
  %team = select i1 %few, i64 %grains, i64 %threads64
  %most = mul i64 %team, 16
  %whole = sdiv i64 %n, %grain
  %coarse = icmp slt i64 %whole, %most
  %some = select i1 %coarse, i64 %whole, i64 %most
  %odd = srem i64 %some, %team
  %even = sub i64 %some, %odd
  %none = icmp slt i64 %even, %team
  %parts = select i1 %none, i64 %team, i64 %even
  %chunk = sdiv i64 %n, %parts
  %p_args = getelementptr i64, ptr @tfc_job, i64 1
  %p_n = getelementptr i64, ptr @tfc_job, i64 2
  %p_chunk = getelementptr i64, ptr @tfc_job, i64 3
  store ptr %fn, ptr @tfc_job, align 8
  store ptr %args, ptr %p_args, align 8
  store i64 %n, ptr %p_n, align 8
  store i64 %chunk, ptr %p_chunk, align 8
  %core = call i32 @sched_getcpu()
  store i32 %core, ptr @tfc_core, align 4
  %p_share = getelementptr i64, ptr @tfc_job, i64 4
  %p_team = getelementptr i64, ptr @tfc_job, i64 5
  %each = sdiv i64 %parts, %team
  %share = mul i64 %each, %chunk
  store i64 %share, ptr %p_share, align 8
  store i64 %team, ptr %p_team, align 8
  br label %begin
begin:
  %m = phi i64 [ 0, %offer ], [ %m1, %begin ]
  %from = mul i64 %m, %share
  %next = getelementptr [8 x i64], ptr @tfc_next, i64 %m
  store atomic i64 %from, ptr %next monotonic, align 8
  %m1 = add i64 %m, 1
  %begun = icmp eq i64 %m1, %team
  br i1 %begun, label %ready, label %begin
ready:
  %old = load atomic i64, ptr @tfc_state monotonic, align 8
  %generation = lshr i64 %old, 32
  %following = add i64 %generation, 1
  %high = shl i64 %following, 32
  %helpers = sub i64 %team, 1
  %limit = shl i64 %helpers, 17
  %low = or i64 %limit, 65536
  %offered = or i64 %high, %low
  store atomic i64 %offered, ptr @tfc_state seq_cst, align 8
  %asleep = load atomic i32, ptr @tfc_sleepers seq_cst, align 4
  %any = icmp sgt i32 %asleep, 0
  br i1 %any, label %whose, label %work
whose:
  %owner = load i32, ptr @tfc_owner, align 4
  %self = call i32 @getpid()
  %ours = icmp eq i32 %owner, %self
  br i1 %ours, label %wake, label %work
wake:
  %l1 = call i32 @pthread_mutex_lock(ptr @tfc_mutex)
  %b = call i32 @pthread_cond_broadcast(ptr @tfc_wake)
  %l2 = call i32 @pthread_mutex_unlock(ptr @tfc_mutex)
  br label %work
work:
  call void @tfc_work(i64 0)
  %closing = atomicrmw and ptr @tfc_state, i64 -65537 seq_cst
  %active0 = and i64 %closing, 65535
  %alone = icmp eq i64 %active0, 0
  br i1 %alone, label %leave, label %linger
linger:
  %start = call i64 @tfc_now()
  %deadline = add i64 %start, ${spin_ns}
  br label %watch
watch:
  %s1 = load atomic i64, ptr @tfc_state seq_cst, align 8
  %active1 = and i64 %s1, 65535
  %done1 = icmp eq i64 %active1, 0
  br i1 %done1, label %leave, label %spin
spin:
  call void @tfc_relax()
  %now = call i64 @tfc_now()
  %late = icmp sgt i64 %now, %deadline
  br i1 %late, label %sleep, label %watch
sleep:
  call void @tfc_call()
  %l3 = call i32 @pthread_mutex_lock(ptr @tfc_mutex)
  store atomic i32 1, ptr @tfc_waiting seq_cst, align 4
  br label %check
check:
  %s2 = load atomic i64, ptr @tfc_state seq_cst, align 8
  %active2 = and i64 %s2, 65535
  %done2 = icmp eq i64 %active2, 0
  br i1 %done2, label %awake, label %wait
wait:
  %w = call i32 @pthread_cond_wait(ptr @tfc_done, ptr @tfc_mutex)
  br label %check
awake:
  store atomic i32 0, ptr @tfc_waiting seq_cst, align 4
  %l4 = call i32 @pthread_mutex_unlock(ptr @tfc_mutex)
  call void @tfc_dismiss()
  br label %leave
leave:
  store atomic i32 0, ptr @tfc_busy seq_cst, align 4
  ret void
}

; A short lock that needs no initialisation.
define internal void @tfc_admin_lock() nounwind {
entry:
  br label %try
try:
  %was = atomicrmw xchg ptr @tfc_admin, i32 1 seq_cst
  %got = icmp eq i32 %was, 0
  br i1 %got, label %exit, label %yield
yield:
  %y = call i32 @sched_yield()
  br label %try
exit:
  ret void
}

; Hold enough workers for %threads threads; 0, or 1 where the system gives none.
define ${linkage} i32 @tfc_pool_acquire(i32 %threads) nounwind {
entry:
  %all = alloca [16 x i64], align 8
  %mask = alloca [16 x i64], align 8
  br label %fill
fill:
  %k = phi i64 [ 0, %entry ], [ %k1, %fill ]
  %slot = getelementptr i64, ptr %all, i64 %k
  store i64 -1, ptr %slot, align 8
  %k1 = add i64 %k, 1
  %filled = icmp eq i64 %k1, 16
  br i1 %filled, label %lock, label %fill
lock:
  call void @tfc_admin_lock()
  %owner = load i32, ptr @tfc_owner, align 4
  %self = call i32 @getpid()
  %ours = icmp eq i32 %owner, %self
  br i1 %ours, label %enter, label %renew
renew:
  %m = call i32 @pthread_mutex_init(ptr @tfc_mutex, ptr null)
  %c1 = call i32 @pthread_cond_init(ptr @tfc_wake, ptr null)
  %c2 = call i32 @pthread_cond_init(ptr @tfc_done, ptr null)
  store atomic i64 0, ptr @tfc_state seq_cst, align 8
  store atomic i32 0, ptr @tfc_busy seq_cst, align 4
  store atomic i32 0, ptr @tfc_sleepers seq_cst, align 4
  store atomic i32 0, ptr @tfc_waiting seq_cst, align 4
  store i32 0, ptr @tfc_users, align 4
  store i32 0, ptr @tfc_workers, align 4
  store i32 %self, ptr @tfc_owner, align 4
  br label %enter
enter:
  %had = load i32, ptr @tfc_workers, align 4
  %sm = call i32 @pthread_sigmask(i32 ${sig_setmask}, ptr %all, ptr %mask)
  br label %grow
grow:
  %have = load i32, ptr @tfc_workers, align 4
  %with = add i32 %have, 1
  %enough = icmp sge i32 %with, %threads
  br i1 %enough, label %good, label %create
create:
  %index = zext i32 %have to i64
  %fresh = getelementptr %tfc_place, ptr @tfc_places, i64 %index
  store %tfc_place zeroinitializer, ptr %fresh, align 8
  %place = getelementptr i64, ptr @tfc_handles, i64 %index
  %number = inttoptr i64 %index to ptr
  %failed = call i32 @pthread_create(ptr %place, ptr null, ptr @tfc_worker, ptr %number)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %undo, label %created
undo:
  call void @tfc_keep(i32 %had)
  br label %out
created:
  store i32 %with, ptr @tfc_workers, align 4
  br label %grow
good:
  %users = load i32, ptr @tfc_users, align 4
  %users1 = add i32 %users, 1
  store i32 %users1, ptr @tfc_users, align 4
  br label %out
out:
  %result = phi i32 [ 0, %good ], [ 1, %undo ]
  %sm2 = call i32 @pthread_sigmask(i32 ${sig_setmask}, ptr %mask, ptr null)
  store atomic i32 0, ptr @tfc_admin seq_cst, align 4
  ret i32 %result
}

; The inverse: the last one to release ends the workers.
define ${linkage} void @tfc_pool_release() nounwind {
entry:
  call void @tfc_admin_lock()
  %owner = load i32, ptr @tfc_owner, align 4
  %self = call i32 @getpid()
  %ours = icmp eq i32 %owner, %self
  br i1 %ours, label %leave, label %out
leave:
  %users = load i32, ptr @tfc_users, align 4
  %users1 = sub i32 %users, 1
  store i32 %users1, ptr @tfc_users, align 4
  %last = icmp eq i32 %users1, 0
  br i1 %last, label %stop, label %out
stop:
  call void @tfc_keep(i32 0)
  br label %out
out:
  store atomic i32 0, ptr @tfc_admin seq_cst, align 4
  ret void
}

; End all workers but the first %count; the caller has the administrator's lock.
define internal void @tfc_keep(i32 %count) nounwind {
entry:
  store atomic i32 %count, ptr @tfc_kept seq_cst, align 4
  %l1 = call i32 @pthread_mutex_lock(ptr @tfc_mutex)
  %b = call i32 @pthread_cond_broadcast(ptr @tfc_wake)
  %l2 = call i32 @pthread_mutex_unlock(ptr @tfc_mutex)
  br label %join
join:
  %have = load i32, ptr @tfc_workers, align 4
  %none = icmp sle i32 %have, %count
  br i1 %none, label %ended, label %one
one:
  %less = sub i32 %have, 1
  %index = zext i32 %less to i64
  %place = getelementptr i64, ptr @tfc_handles, i64 %index
  %thread = load i64, ptr %place, align 8
  %j = call i32 @pthread_join(i64 %thread, ptr null)
  store i32 %less, ptr @tfc_workers, align 4
  br label %join
ended:
  store atomic i32 ${max_threads}, ptr @tfc_kept seq_cst, align 4
  ret void
}
