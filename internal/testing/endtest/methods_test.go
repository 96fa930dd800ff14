package endtest

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// packages are those whose types hold mappings.
var packages = []string{"dsm", "area", "batch/shared", "cache", "registry", "dsmnet", "locktable", "shm", "shm/dsa", "shm/dshash", "shm/logcache", "shm/mq", "shm/shmsync", "shm/toc"}

// exempt are the functions and methods that touch no shared byte of a session, each with the reason. A type stands for all
// its methods.
var exempt = map[string]string{
	"dsm.Handle": "a number", "dsm.ParseHandle": "a number", "dsm.Error": "an error", "dsm.SegmentState": "a text", "dsm.SessionState": "a text",
	"dsm.Inspect": "looks from outside of sessions", "dsm.Look": "looks from outside of sessions",
	"dsm.Events": "looks from outside of sessions", "dsm.Event": "a copy", "cache.Read": "looks from outside of sessions",
	"dsa.Look": "looks from outside of sessions", "dsa.Sight": "looks from outside of sessions", "shmsync.FindLocks": "looks from outside of sessions", "dsm.Open": "makes a session",
	"dsm.Session.Config": "a copy of settings", "dsm.Session.Done": "a channel", "dsm.Session.Owner": "an owner",
	"dsm.Session.Close": "the end itself", "dsm.owned": "calls Detach",
	"area.source": "calls Session", "area.segment": "calls Segment",
	"registry.Names": "reads a report",
	"dsmnet.Addr":    "a name", "mq.Addr": "a name",
	"shm.View": "is what ends", "shm.Lease": "is a part of View", "shm.NewView": "makes a view", "shm.Forget": "forgets a range",
	"shm.ViewAt": "an address", "shm.Region": "a window, of which no method loads or stores", "shm.NewRegion": "a window",
	"shm.At": "makes a pointer", "shm.SliceOf": "makes a slice", "shm.Check": "looks at a type", "shm.Layout": "looks at a type", "shm.Size": "looks at a type",
	"dsa.Heap": "ordinary memory", "dsa.heapAttachment": "ordinary memory", "dsa.Pointer": "a number", "dsa.inPlaceSegment": "a region",
	"dsa.stripe": "a mutex of the process", "dsa.lifetime": "a view", "shmsync.ends": "a view",
	"mq.Size": "a number", "shmsync.Peer": "a number", "shmsync.PeerOf": "a number", "shmsync.PeerDiedError": "an error",
	"shmsync.Self.Name": "asks the session, which looks at the books",
	"shmsync.Mutex":     "the control segment's own lock", "shmsync.NewMutex": "the control segment's own lock",
	"shmsync.LWLock.OnFault": "sets a field of the process",
	"shmsync.scoped":         "Session.Contain calls it after a fault", "shmsync.scopedMutex": "Session.Contain calls it after a fault",
	"shmsync.MutexGuard": "the control segment's own lock", "shmsync.MutexWord": "the control segment's own lock",
	"shmsync.MailboxWord": "lies in the control segment", "shmsync.NewMailbox": "is called by Open",
	"toc.Estimator": "a number",
	"dsm.site":      "a place in the source", "dsmnet.visit": "is released by its owner", "registry.Kind": "a name",
	"dsm.hook": "a function's name", "dsa.notAllocated": "an error", "dsa.Area.OnDetach": "a list of the process",
	"dsa.Area.View": "is what ends", "dsa.guard": "the area's own lock, under its other methods",
	"logcache.Cache.MaxValue": "a number", "logcache.Cache.MaxKey": "a number", "logcache.cleaner": "is used under a lock by Set",
	"logcache.ends": "is what ends", "logcache.held32": "a word under a lock of the cache", "logcache.held64": "a word under a lock of the cache", "logcache.Entry": "a copy", "logcache.If": "makes a value", "logcache.During": "makes a value",
	"cache.Cache.Name": "a text", "cache.Counts": "numbers", "cache.JSON": "a codec", "cache.Of": "makes a value", "cache.jsonCodec": "a codec", "cache.plain": "a codec",
	"logcache.LoadError": "an error", "logcache.Cache.Least": "a number",
	"shared.Read": "looks from outside of sessions", "shared.Stats": "a copy", "shared.Ordered": "a context",
	"shared.remote": "an error", "shared.state": "a number", "shared.fence": "a driver that the leader calls", "shared.fencedTx": "a transaction that the leader makes",
	"shm.Fault": "looks at an error", "shm.Explain": "looks at an address",
	"dsmnet.timeout": "an error",
	"locktable.Info": "a copy", "locktable.Party": "a copy", "locktable.Edge": "a copy", "locktable.WaitError": "an error",
	"locktable.Token": "a number", "locktable.use": "is released by its owner", "locktable.Table.Handle": "a number",
	"locktable.Table.Lost": "a channel", "locktable.ends": "is what ends", "locktable.key": "bytes of the process",
	"registry.names": "is released by its owner", "registry.noting": "calls Session",
}

// methods finds the exported functions of the packages, and the exported methods of all their types: for each
// package.Type.Method or package.Function, whether one of its results is an error.
func methods() (map[string]bool, error) {
	found := map[string]bool{}
	err := declarations(packages, func(pkg string, d ast.Decl) {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() {
			found[pkg+"."+receiver(f)+f.Name.Name] = fails(f)
		}
	})
	return found, err
}

// fails reports whether one of a function's results is an error.
func fails(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	for _, r := range f.Type.Results.List {
		if name, ok := r.Type.(*ast.Ident); ok && name.Name == "error" {
			return true
		}
	}
	return false
}

// receiver returns the name of a method's type with a dot behind it, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	x := f.Recv.List[0].Type
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name + "."
		default:
			panic(fmt.Sprintf("a receiver of type %T", x))
		}
	}
}

// exemption returns why a method is not in the table of uses, "" if it must be.
func exemption(name string) string {
	if why := exempt[name]; why != "" {
		return why
	}
	if i := strings.LastIndexByte(name, '.'); i > strings.IndexByte(name, '.') {
		return exempt[name[:i]]
	}
	return ""
}

func TestEveryMethodHasAUse(t *testing.T) {
	all, err := methods()
	if err != nil || len(all) < 150 {
		t.Fatalf("only %d functions and methods were found, %v", len(all), err)
	}
	for name := range all {
		_, used := uses[name]
		switch why := exemption(name); {
		case !used && why == "":
			t.Errorf("%s is in no table: give it a use, or say in exempt why it touches no shared byte", name)
		case used && why != "":
			t.Errorf("%s has a use, and is exempt: %s", name, why)
		}
	}
	for name := range uses {
		if _, is := all[name]; !is {
			t.Errorf("there is no %s", name)
		}
	}
}
