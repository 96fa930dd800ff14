package endtest

import (
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"path"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/toc"
	"github.com/godsm/godsm/supervisor"
)

// zeros has the zero value of each exported type that has methods. TestZeroValues compares it with the source.
var zeros = []any{
	new(dsm.Config), new(dsm.Counters), new(dsm.Done), new(dsm.Error), new(dsm.Event), new(dsm.Handle), new(dsm.Report), new(dsm.Segment), new(dsm.SegmentInfo), new(dsm.SegmentState), new(dsm.Session),
	new(dsm.Refused), new(dsm.SessionInfo), new(dsm.SessionState), new(dsm.Status),
	new(registry.Info), new(registry.Kind), new(registry.Options),
	new(shared.Codec[int]), new(shared.Driver[int, int]), new(shared.Future[int]), new(shared.Options), new(shared.Queue[int, int]), new(shared.Stats),
	new(cache.Cache), new(cache.Counts), new(cache.Info), new(cache.Item), new(cache.OnMismatch), new(cache.Options),
	new(cache.SessionStats), new(cache.Stats), new(cache.Typed[int, int]), new(cache.With),
	new(dsmnet.Addr), new(dsmnet.Dialer),
	new(parallel.Error), new(parallel.MapTask[int, int]), new(parallel.Options), new(parallel.Set), new(parallel.Slice), new(parallel.Task[int]),
	new(parallel.Worker),
	new(supervisor.Supervisor),
	new(resowner.Item), new(resowner.Owner),
	new(shm.Lease), new(shm.Offset), new(shm.Region), new(shm.View),
	new(dsa.Area), new(dsa.ClassStats), new(dsa.Heap), new(dsa.Options), new(dsa.Place), new(dsa.Pointer), new(dsa.Ref[int]),
	new(dsa.Report), new(dsa.Sight),
	new(dsa.Stats),
	new(dshash.Bytes), new(dshash.BytesEntry), new(dshash.Entry[uint64, uint64]), new(dshash.Item[int, int]), new(dshash.Options), new(dshash.Report),
	new(dshash.Table[uint64, uint64]),
	new(mq.Addr), new(mq.Conn), new(mq.Many), new(mq.Queue), new(mq.Receiver), new(mq.Sender),
	new(shmsync.Barrier), new(shmsync.BarrierWord), new(shmsync.Bit), new(shmsync.Cond), new(shmsync.EventCount), new(shmsync.Guard),
	new(shmsync.LWLock), new(shmsync.LWLockWord), new(shmsync.Latch), new(shmsync.LatchWord), new(shmsync.Mailbox),
	new(shmsync.MailboxWord), new(shmsync.Mutex), new(shmsync.MutexGuard), new(shmsync.MutexWord), new(shmsync.News),
	new(shmsync.Peer), new(shmsync.PeerDiedError), new(shmsync.Self), new(shmsync.Slot), new(shmsync.Status), new(shmsync.LockAt),
	new(shmsync.Ticket), new(shmsync.Waiter),
	new(toc.Estimator), new(toc.Toc),
	new(logcache.Cache), new(logcache.Condition), new(logcache.Entry), new(logcache.Failure), new(logcache.Item),
	new(logcache.LoadClaim), new(logcache.LoadError), new(logcache.Options), new(logcache.Point), new(logcache.Report),
	new(logcache.Room), new(logcache.Stamp), new(logcache.Stats), new(logcache.Tag),
	new(locktable.Death), new(locktable.Edge), new(locktable.Hold), new(locktable.Holds), new(locktable.Info),
	new(locktable.Looker), new(locktable.Name), new(locktable.Options), new(locktable.Owner), new(locktable.Party),
	new(locktable.Table), new(locktable.Token), new(locktable.WaitError), new(locktable.Want),
}

// zeroPackages are those whose types are in zeros.
var zeroPackages = append([]string{"parallel", "supervisor", "resowner"}, packages...)

// TestZeroValues calls every exported method of the zero value of every exported type, with arguments that are as zero, and
// with nil functions: none faults, and none waits for ever.
func TestZeroValues(t *testing.T) {
	have := map[string]bool{}
	for _, z := range zeros {
		typ := reflect.TypeOf(z).Elem()
		name, _, _ := strings.Cut(typ.Name(), "[")
		have[path.Base(typ.PkgPath())+"."+name] = true
		for i := range reflect.TypeOf(z).NumMethod() {
			m := reflect.TypeOf(z).Method(i)
			t.Run(path.Base(typ.PkgPath())+"."+name+"."+m.Name, func(t *testing.T) {
				for _, nilFunctions := range []bool{false, true} {
					callZero(t, reflect.New(typ).Method(i), nilFunctions)
				}
			})
		}
	}
	for _, name := range exportedTypes(t) {
		if !have[name] {
			t.Errorf("the zero value of %s is not in the table", name)
		}
	}
}

// callZero calls a method with arguments that a careless program passes.
func callZero(t *testing.T, m reflect.Value, nilFunctions bool) {
	over := make(chan string, 1)
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	go func() {
		defer func() {
			if r := recover(); r != nil {
				over <- fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		var args []reflect.Value
		for i := range m.Type().NumIn() {
			in := m.Type().In(i)
			switch {
			case m.Type().IsVariadic() && i == m.Type().NumIn()-1:
			case in == reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(ctx))
			case in.Kind() == reflect.Func && !nilFunctions:
				args = append(args, reflect.MakeFunc(in, func([]reflect.Value) (out []reflect.Value) {
					for i := range in.NumOut() {
						out = append(out, reflect.Zero(in.Out(i)))
					}
					return out
				}))
			case in.Kind() == reflect.Pointer:
				args = append(args, reflect.New(in.Elem()))
			case in.Kind() == reflect.Int:
				args = append(args, reflect.ValueOf(8))
			case in == reflect.TypeFor[io.Writer]():
				args = append(args, reflect.ValueOf(io.Discard))
			default:
				args = append(args, reflect.Zero(in))
			}
		}
		for _, out := range m.Call(args) {
			useZero(out)
		}
		over <- ""
	}()
	select {
	case why := <-over:
		if why != "" {
			t.Error(why)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for ever")
	}
}

// useZero calls what a method has returned if it is a function or an iterator.
func useZero(v reflect.Value) {
	if v.Kind() != reflect.Func || v.IsNil() {
		return
	}
	if v.Type().CanSeq2() {
		for range v.Seq2() {
		}
		return
	}
	if v.Type().NumIn() == 0 {
		v.Call(nil)
	}
}

// exportedTypes are the exported types of the packages that are no interfaces, as package.Type.
func exportedTypes(t *testing.T) (names []string) {
	err := declarations(zeroPackages, func(pkg string, d ast.Decl) {
		g, _ := d.(*ast.GenDecl)
		if g == nil || g.Tok != token.TYPE {
			return
		}
		for _, s := range g.Specs {
			s := s.(*ast.TypeSpec)
			if _, is := s.Type.(*ast.InterfaceType); s.Name.IsExported() && !is && !s.Assign.IsValid() {
				names = append(names, pkg+"."+s.Name.Name)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
