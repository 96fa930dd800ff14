package shmsync

import (
	"errors"
	"sync"

	"github.com/godsm/godsm/shm"
)

// This file has what binds a handle to the views that its word ends with: the joint view of a word and a session, and
// the rule that a process makes one handle for a word, however often it is asked for.
//
// One handle is not a convenience. What a process holds is counted in the word once, under the session's name; two
// handles of one session would each give the other's hold back at the end of the view.

// table has what this process has made on words that lie in segments, so that the end of a view finds it, and so that
// it is made once, however often it is asked for. Its lock is held during a New function's make, so make calls none.
var table struct {
	sync.Mutex
	joint map[pair]*shm.View        // the view of viewOf, until it ends
	made  map[*shm.View]map[any]any // by view and key, until the view ends
}

// pair is the view that a word lies in, and that of the session that uses the word.
type pair struct{ word, session *shm.View }

// viewOf returns a view that ends with w's bytes and with the session; nil if neither ends. It is one view for each such
// pair while both live. If one of the two has ended, what it returns has ended too.
func viewOf[T any](w *T, self Self) *shm.View {
	p := pair{shm.ViewAt(w), self.View}
	switch {
	case p.word == nil || p.word == p.session:
		return p.session
	case p.session == nil:
		return p.word
	}
	table.Lock()
	v := table.joint[p]
	if v != nil {
		table.Unlock()
		return v
	}
	v = p.word.Sub()
	if table.joint == nil {
		table.joint = map[pair]*shm.View{}
	}
	table.joint[p] = v
	table.Unlock()
	stop := p.session.OnEnd(v.End)
	v.OnEnd(func() {
		stop()
		table.Lock()
		defer table.Unlock()
		delete(table.joint, p)
	})
	return v
}

// madeOnce returns what has been made under v by that key, or makes it. Begin runs once for what is made, after it is
// in the table and with the table unlocked: another caller may use it before begin is through.
func madeOnce[T any](v *shm.View, key any, make func() *T, begin func(*T)) *T {
	table.Lock()
	if x, ok := table.made[v][key].(*T); ok {
		table.Unlock()
		return x
	}
	x := make()
	first := table.made[v] == nil
	if first {
		if table.made == nil {
			table.made = map[*shm.View]map[any]any{}
		}
		table.made[v] = map[any]any{}
	}
	table.made[v][key] = x
	table.Unlock()
	if first {
		v.OnEnd(func() {
			table.Lock()
			defer table.Unlock()
			delete(table.made, v)
		})
	}
	begin(x)
	return x
}

// onBytesEnd has leaveAtEnd called when the bytes that w lies in are about to go, in a session that goes on. It does
// nothing for a word that lies in no segment.
func onBytesEnd[T any](w *T, giveBack func()) {
	if v := shm.ViewAt(w); v != nil {
		v.OnDrain(giveBack)
	}
}

// errOfView replaces a fault that came after the end of the view by the view's own error: the bytes are gone because
// it ended, not because another program has truncated them. It is deferred before fault.Return, so that it runs after
// that.
func errOfView(err *error, v *shm.View) {
	if *err != nil && v.Ended() && errors.Is(*err, shm.ErrCorrupt) {
		*err = v.Err()
	}
}
