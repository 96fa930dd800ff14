package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An Engine takes commands and answers them. Its methods may be called by any number of goroutines. Who makes one
// must close it.
type Engine[Cmd, Res any] struct {
	driver  Driver[Cmd, Res]
	options Options
	size    func(Cmd) int
	plans   planner[Cmd, Res]
	queue   queue[Cmd, Res]
	flush   flush[Cmd, Res] // of the one that has begun a flush of the queue
	calls   sync.Pool

	ctx     context.Context // the worker's; ends when Close gives up
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when the worker has ended
	closing atomic.Bool

	statsMu sync.Mutex
	stats   Stats
	spans   spans
	trouble error
	since   time.Time // of trouble
}

// New starts an engine over a driver.
func New[Cmd, Res any, Group, Key comparable](driver Driver[Cmd, Res], rules Rules[Cmd, Res, Group, Key],
	options Options) *Engine[Cmd, Res] {
	e := &Engine[Cmd, Res]{
		driver:  driver,
		options: options.withDefaults(),
		size:    rules.Size,
		ended:   make(chan struct{}),
	}
	e.plans = newPlans(rules, e.options.Cache)
	e.queue.wake = make(chan struct{}, 1)
	e.queue.room, e.queue.full = e.options.Queue, e.options.Full
	e.calls.New = func() any { return &call[Cmd, Res]{ready: make(chan struct{}, 1)} }
	e.flush.e = e
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	go e.runWorker()
	return e
}

// Do hands in a command and waits for its outcome. If nothing else is under way, and the context can't end, it executes the command in
// its own goroutine. It blocks while the queue is full, unless Options.Full is Fail. If
// the context ends first, Do returns an [Error] that reports whether the command may still be executed. Any error is an
// *Error.
func (e *Engine[Cmd, Res]) Do(ctx context.Context, cmd Cmd) (res Res, err error) {
	c := e.calls.Get().(*call[Cmd, Res])
	c.cmd = cmd
	return e.do(ctx, c)
}

func (e *Engine[Cmd, Res]) do(ctx context.Context, c *call[Cmd, Res]) (res Res, err error) {
	if _, err := e.handIn(ctx, c, false); err != nil {
		e.recycle(c)
		return res, &Error{Err: err}
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		for c.state.Load() != done { // the worker may move it between the two tries
			if e.queue.withdraw(c) {
				e.count(func(s *Stats) { s.Withdrawn++ })
				return res, &Error{Executed: No, Err: context.Cause(ctx)}
			}
			if c.move(taken, left) {
				e.count(func(s *Stats) { s.Left++ })
				return res, &Error{Executed: Maybe, Err: context.Cause(ctx)}
			}
		}
		<-c.ready
	}
	res, err = c.res, c.err
	e.recycle(c)
	return res, err
}

// Submit hands in a command and returns its future. It blocks while the queue is full, unless Options.Full is Fail. If
// the context ends before the command is taken into a flush, the command is withdrawn.
func (e *Engine[Cmd, Res]) Submit(ctx context.Context, cmd Cmd) *Future[Res] {
	c := e.calls.Get().(*call[Cmd, Res])
	c.cmd = cmd
	f := &Future[Res]{done: make(chan struct{})}
	c.ctx, c.future = ctx, f
	admit, err := e.handIn(ctx, c, true)
	if err != nil {
		e.recycle(c)
		return finished[Res](&Error{Err: err})
	}
	if admit != nil {
		select {
		case <-admit:
		case <-f.done:
		case <-ctx.Done():
		}
	}
	return f
}

// Post hands in a command whose outcome is told by a call of told, for a program that waits in one place for many of
// them. told is called once, by the goroutine that executes, so it must not block. Post itself blocks while the queue is full, unless
// Options.Full is Fail; a command that is not accepted is told at once, by Post. The context withdraws the command as it
// does for Submit.
func (e *Engine[Cmd, Res]) Post(ctx context.Context, cmd Cmd, told func(cmd Cmd, res Res, err error)) {
	e.awaitRoom(ctx, e.post(ctx, cmd, told))
}

// PostAll is Post for several commands. They are handed in at once, so one flush takes them all, if it has room for as many.
func (e *Engine[Cmd, Res]) PostAll(ctx context.Context, cmds []Cmd, told func(cmd Cmd, res Res, err error)) {
	e.awaitRoom(ctx, e.postAll(ctx, cmds, told))
}

// postAll hands in the commands of PostAll, and returns what post does of the last one that there is no room for.
func (e *Engine[Cmd, Res]) postAll(ctx context.Context, cmds []Cmd, told func(cmd Cmd, res Res, err error)) (last chan struct{}) {
	e.queue.hold(1)
	defer e.queue.hold(-1) // told may panic
	for _, cmd := range cmds {
		if admit := e.post(ctx, cmd, told); admit != nil {
			last = admit
		}
	}
	return last
}

// post hands in a command for Post. It returns a channel that is closed when there is room for it, nil if there is.
func (e *Engine[Cmd, Res]) post(ctx context.Context, cmd Cmd, told func(cmd Cmd, res Res, err error)) (admit chan struct{}) {
	c := e.calls.Get().(*call[Cmd, Res])
	c.cmd, c.ctx, c.told = cmd, ctx, told
	admit, err := e.handIn(ctx, c, true)
	if err != nil {
		e.recycle(c)
		var none Res
		told(cmd, none, &Error{Err: err})
	}
	return admit
}

// awaitRoom waits for room, if that is to be waited for.
func (e *Engine[Cmd, Res]) awaitRoom(ctx context.Context, admit chan struct{}) {
	if admit != nil {
		select {
		case <-admit:
		case <-ctx.Done():
		case <-e.ended:
		}
	}
}

// handIn checks a call and hands it to the queue.
func (e *Engine[Cmd, Res]) handIn(ctx context.Context, c *call[Cmd, Res], waits bool) (admit chan struct{}, err error) {
	s := scopeOf(ctx)
	if s.inside == any(e) {
		return nil, ErrInside
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if e.size != nil && c.interact == nil && !c.fence {
		if err := e.measure(c); err != nil {
			return nil, err
		}
	}
	c.since = time.Now()
	if s.stream != nil {
		c.stream = s.stream
		c.stream.pending.Add(1)
	}
	if !waits && ctx.Done() == nil && c.interact == nil && !c.fence && e.options.Linger == 0 && e.queue.enter(c) {
		e.flushAlone(c)
		return nil, nil
	}
	return e.queue.handIn(c, waits)
}

// flushAlone executes a call that nothing waits before in its own caller's goroutine, which can't leave since its context does
// not end. That saves the two changes of goroutine that are half of what the engine costs a lone caller.
func (e *Engine[Cmd, Res]) flushAlone(c *call[Cmd, Res]) {
	defer e.queue.leave()
	defer func() {
		if tx := e.flush.tx; tx != nil { // the driver has panicked, maybe after the commit
			e.flush.tx = nil
			e.flush.tellWritten(e.flush.pos, false)
			tx.Rollback(e.ctx)
		}
	}()
	e.flush.calls = append(e.flush.calls[:0], c)
	e.flush.run()
}

func (e *Engine[Cmd, Res]) measure(c *call[Cmd, Res]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked("Rules.Size", v)
		}
	}()
	c.size = e.size(c.cmd)
	return nil
}

// Get returns the answer to a read, from memory if Options.Cache has it, and otherwise as Do. An answer is kept when
// the transaction that read it has been committed, and dropped when one that has written its key has been, before any
// caller is answered. So a caller that has seen its write acknowledged reads it; one that has not, because it has used
// Submit or its context has ended, reads it only under an Ordered context. This is right only where all writes go
// through this engine. A command that Rules.Read does not call a read is executed as by Do.
func (e *Engine[Cmd, Res]) Get(ctx context.Context, cmd Cmd) (Res, error) {
	if s := scopeOf(ctx); s.stream == nil || s.stream.pending.Load() == 0 {
		if res, ok := e.plans.lookup(cmd); ok {
			return res, nil
		}
	}
	return e.Do(ctx, cmd)
}

// Flush waits until all that was handed in before has its outcome.
func (e *Engine[Cmd, Res]) Flush(ctx context.Context) error {
	c := e.calls.Get().(*call[Cmd, Res])
	c.fence = true
	_, err := e.do(ctx, c)
	return err
}

// Close lets no more commands in, waits until those that were accepted have their outcomes, and closes the driver. If
// the context ends first, the rest of them end with ErrClosed, or with an error that says Maybe where a commit is under
// way. Commands that waited for room end with ErrClosed. Options.Logger is told once a second how far it is. A second Close waits for the first.
func (e *Engine[Cmd, Res]) Close(ctx context.Context) error {
	if scopeOf(ctx).inside == any(e) {
		return &Error{Err: ErrInside}
	}
	for _, c := range e.queue.close() {
		e.answer(c, c.res, &Error{Err: ErrClosed})
	}
	err := e.drain(ctx)
	if e.closing.CompareAndSwap(false, true) {
		e.cancel(ErrClosed)
		err = errors.Join(err, e.driver.Close(context.WithoutCancel(ctx)))
	}
	return err
}

// drain waits until the worker has ended, logs once a second how far it is, and has it give up when the context ends.
func (e *Engine[Cmd, Res]) drain(ctx context.Context) error {
	began, before := time.Now(), e.Stats().Commands
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-e.ended:
			return nil
		case <-ctx.Done():
			e.cancel(ErrClosed)
			<-e.ended
			return fmt.Errorf("batch: closed before all commands had been executed: %w", context.Cause(ctx))
		case <-t.C:
			s := e.Stats()
			args := []any{"for", time.Since(began).Round(time.Second), "answered", s.Commands - before, "waiting", s.Waiting}
			if s.Trouble != nil {
				args = append(args, "trouble", s.Trouble, "since", s.Since.Round(time.Millisecond))
			}
			e.options.Logger.Info("batch: Close waits for commands that were accepted", args...)
		}
	}
}

// runWorker runs as the worker: it flushes until the engine is closed, and then drops the calls that are left.
func (e *Engine[Cmd, Res]) runWorker() {
	defer close(e.ended)
	f := &e.flush
	var gone []*call[Cmd, Res]
	for e.queue.awaitWork(e.ctx, e.options.Linger, e.options.MaxRows) {
		e.queue.gather(e.options.MaxRows, f.took)
		f.calls, gone = e.queue.take(f.calls[:0], gone[:0], e.options.MaxRows, e.options.MaxBytes)
		for _, c := range gone {
			e.endWithdrawn(c)
		}
		f.run()
		e.queue.leave()
	}
	for { // Close has given up: none of these is executed
		f.calls, gone = e.queue.take(f.calls[:0], gone[:0], e.options.MaxRows, e.options.MaxBytes)
		for _, c := range gone {
			e.endWithdrawn(c)
		}
		for _, c := range f.calls {
			e.answer(c, c.res, &Error{Err: ErrClosed})
		}
		if len(f.calls)+len(gone) == 0 {
			return
		}
	}
}

// answer gives a call, which is taken or left, its outcome.
func (e *Engine[Cmd, Res]) answer(c *call[Cmd, Res], res Res, err error) {
	if c.stream != nil {
		c.stream.pending.Add(-1)
	}
	if f := c.future; f != nil {
		c.move(taken, done)
		f.res, f.err = res, err
		e.recycle(c)
		close(f.done)
		return
	}
	if told := c.told; told != nil {
		cmd := c.cmd
		c.move(taken, done)
		e.recycle(c)
		told(cmd, res, err)
		return
	}
	c.res, c.err = res, err
	if c.move(taken, done) {
		c.ready <- struct{}{}
		return
	}
	c.move(left, done) // its caller has gone
	e.recycle(c)
}

// endWithdrawn ends a call that is withdrawn.
func (e *Engine[Cmd, Res]) endWithdrawn(c *call[Cmd, Res]) {
	e.tellWithdrawn(c)
	e.recycle(c)
}

// tellWithdrawn tells a call's outcome, once, to the caller that has handed it in by Submit or Post: it is withdrawn.
func (e *Engine[Cmd, Res]) tellWithdrawn(c *call[Cmd, Res]) {
	if c.stream != nil {
		c.stream.pending.Add(-1)
	}
	f, told := c.future, c.told
	c.stream, c.future, c.told = nil, nil, nil
	switch {
	case f != nil:
		e.count(func(s *Stats) { s.Withdrawn++ })
		f.err = &Error{Executed: No, Err: context.Cause(c.ctx)}
		close(f.done)
	case told != nil:
		e.count(func(s *Stats) { s.Withdrawn++ })
		var none Res
		told(c.cmd, none, &Error{Executed: No, Err: context.Cause(c.ctx)})
	}
}

// recycle keeps a call for the next command.
func (e *Engine[Cmd, Res]) recycle(c *call[Cmd, Res]) {
	*c = call[Cmd, Res]{ready: c.ready}
	e.calls.Put(c)
}
