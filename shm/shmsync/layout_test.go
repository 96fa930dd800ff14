package shmsync_test

import (
	"testing"
	"unsafe"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func TestSizes(t *testing.T) {
	for name, got := range map[string][2]uintptr{
		"MutexWord":   {unsafe.Sizeof(shmsync.MutexWord{}), 4},
		"EventCount":  {unsafe.Sizeof(shmsync.EventCount{}), 4},
		"Cond":        {unsafe.Sizeof(shmsync.Cond{}), 4},
		"Slot":        {unsafe.Sizeof(shmsync.Slot{}), 8},
		"LatchWord":   {unsafe.Sizeof(shmsync.LatchWord{}), 16},
		"LWLockWord":  {unsafe.Sizeof(shmsync.LWLockWord{}), 256},
		"BarrierWord": {unsafe.Sizeof(shmsync.BarrierWord{}), 256},
		"MailboxWord": {unsafe.Sizeof(shmsync.MailboxWord{}), 192},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %d bytes, its doc says %d", name, got[0], got[1])
		}
	}
	for name, err := range map[string]error{
		"Cond": shm.Check[shmsync.Cond](), "LatchWord": shm.Check[shmsync.LatchWord](),
		"LWLockWord": shm.Check[shmsync.LWLockWord](), "BarrierWord": shm.Check[shmsync.BarrierWord](),
		"MailboxWord": shm.Check[shmsync.MailboxWord](),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
