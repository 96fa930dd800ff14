//go:build unix

package doctor

import (
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// theirs is a file of another user's.
func theirs(uid uint32) *fstest.MapFile {
	return &fstest.MapFile{Sys: &syscall.Stat_t{Uid: uid}}
}

func TestOtherUsers(t *testing.T) {
	root := healthy()
	root["dev/shm/"+dsmimpl.Object{Life: uuid.New(), Generation: 1, Handle: dsmimpl.ControlHandle}.Name()] = theirs(77)
	list := Machine{OS: "linux", Root: root, UID: 1000}.Strangers(nil)
	if len(list) != 1 || list[0].Check != "other_users" || list[0].Status != Note ||
		!strings.Contains(list[0].Found, "user 77") {
		t.Errorf("%+v", list)
	}
}
