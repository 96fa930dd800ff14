package sysv

import (
	"context"
	"os"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/filemap"
	"github.com/google/uuid"
)

// List reads the kernel's own table, which shows no more than IPC_STAT would.
func (backend) List(ctx context.Context, life uuid.UUID, generation uint64) ([]dsmimpl.Object, error) {
	entries, err := table()
	if err != nil {
		return nil, errkind.Classify(err)
	}
	var found []dsmimpl.Object
	for _, e := range entries {
		if o, ok := recognize(e.id, e.status, life, generation); ok {
			found = append(found, o)
		}
	}
	return found, nil
}

// Abandoned lists the control segments of this user's that no process has attached; read tells from an object's bytes
// whether it is one, and of which life.
func (backend) Abandoned(_ context.Context, read func([]byte) (uuid.UUID, uint64, bool)) (found []dsmimpl.Object,
	err error) {
	entries, err := table()
	for _, e := range entries {
		if e.key == ipcPrivate || e.uid != os.Geteuid() || e.users > 0 || e.size%uint64(os.Getpagesize()) == 0 {
			continue
		}
		b, err := shmat(e.id, true)
		if err != nil {
			continue
		}
		life, generation, ok := read(b)
		_ = shmdt(b)
		o := dsmimpl.Object{Life: life, Generation: generation, Handle: dsmimpl.ControlHandle, Word: word(e.id)}
		if ok && ours(o, e.status) {
			found = append(found, o)
		}
	}
	return found, errkind.Classify(err)
}

// Swap needs no call of System V's: the kernel counts an object as detached when nothing of it is mapped any more.
func (backend) Swap(m dsmimpl.Mapping, from, to int) error {
	if to == len(m.Bytes) {
		to = cap(m.Bytes)
	}
	return filemap.Swap(m.Bytes[from:to])
}

func (backend) Unswap(m dsmimpl.Mapping) error { return filemap.Unmap(whole(m)) }

func (backend) DetachGuarded(m dsmimpl.Mapping) error { return filemap.Guard(whole(m)) }

func (backend) Unguard(m dsmimpl.Mapping) error { return filemap.Unmap(whole(m)) }

// whole returns the mapping with the rest of its object, which reaches beyond the bytes asked for.
func whole(m dsmimpl.Mapping) []byte { return m.Bytes[:cap(m.Bytes)] }
