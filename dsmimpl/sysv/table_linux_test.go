package sysv

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// FuzzTable: whatever the kernel's table says, only what bears all marks of the instance is taken for its own.
func FuzzTable(f *testing.F) {
	heading := "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      " +
		"atime      dtime      ctime                   rss                  swap\n"
	id := uuid.New()
	o := dsmimpl.Object{Life: id, Generation: 5, Handle: 7, Size: 10000}
	line := fmt.Sprintf("%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n",
		key(o), 12, 0o600, exactSize(o), 99, 98, 1, os.Geteuid(), 0, os.Geteuid(), 0, 0, 0, 0, 0, 0)
	entries := parseTable([]byte(heading + line))
	if len(entries) != 1 {
		f.Fatalf("%d entries of one line", len(entries))
	}
	if found, ok := recognize(entries[0].id, entries[0].status, id, 5); !ok || found.Row() != 7 ||
		found.CreatorPid != 99 || found.Word != word(12) {
		f.Fatalf("its own is taken for %+v, %v", found, ok)
	}
	f.Add([]byte(heading+line), id[:], uint64(5))
	f.Add([]byte(heading), id[:], uint64(0))
	f.Add([]byte("-2147483648 2147483647 1666 18446744073709551615 4294967295 0 0 0 0 4294967295 0\n"),
		id[:], ^uint64(0))
	f.Add([]byte("0x1 0b1 0o1 0x10 1_0 0 0 0 0 0\n"+strings.Repeat("9", 300)), id[:], uint64(5))
	f.Fuzz(func(t *testing.T, text, instance []byte, generation uint64) {
		var id uuid.UUID
		copy(id[:], instance)
		for _, e := range parseTable(text) {
			o, ok := recognize(e.id, e.status, id, generation)
			if !ok {
				continue
			}
			if o.Life != id || key(o) != e.key || e.uid != os.Geteuid() || uint32(e.key)>>16 != keyBase(id)>>16 ||
				!marked(e.size, id) || shmid(o.Word) != e.id {
				t.Errorf("%+v is taken for %+v", e, o)
			}
			if other := (uuid.UUID{15: id[15] ^ 1}); marked(e.size, other) {
				t.Errorf("%+v could be another instance's", e)
			}
		}
	})
}
