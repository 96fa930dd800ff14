//go:build linux || darwin || freebsd

package sysv

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// recognize reports whether an object found in the kernel is that life's, and what Object it then is.
// The key holds a row only together with a generation, so the row is the one it would be in this generation.
func recognize(id int, st status, life uuid.UUID, generation uint64) (dsmimpl.Object, bool) {
	o := dsmimpl.Object{Life: life, Generation: generation, Word: word(id), CreatorPid: st.creatorPid}
	o.Handle = uint64(uint16(st.key) ^ salt(o))
	return o, ours(o, st)
}
