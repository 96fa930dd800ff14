//go:build darwin || freebsd

package sysv

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// kernelLimit returns a kernel limit with its name, for messages.
func kernelLimit(name string) string {
	name = sysctlPrefix + name
	n, err := unix.SysctlUint64(name)
	if err != nil {
		return name
	}
	return fmt.Sprintf("%d (%s)", n, name)
}

func kernelUsedUp(int) string {
	return fmt.Sprintf("the kernel allows %s segments and %s pages in all", kernelLimit("shmmni"), kernelLimit("shmall"))
}

// kernelNamespace returns the only one there is.
func kernelNamespace() string { return "" }

// List has no table to read that needs no privilege, but only 65,536 keys can be that life's: it asks for each.
func (backend) List(ctx context.Context, life uuid.UUID, generation uint64) ([]dsmimpl.Object, error) {
	var found []dsmimpl.Object
	for low := range uint32(1 << 16) {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		k := int32(keyBase(life) | low)
		if k == ipcPrivate {
			continue
		}
		id, err := shmget(k, 0, 0)
		if err != nil {
			continue
		}
		st, err := kernelStat(id, k)
		if err != nil {
			continue
		}
		if o, ok := recognize(id, st, life, generation); ok {
			found = append(found, o)
		}
	}
	return found, nil
}
