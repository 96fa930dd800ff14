package dsm

import (
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
)

// Handle names a segment inside its instance. It travels as a number or as text, by any means; 0 is no handle. It says
// nothing about permissions: each process that may join the instance may attach. Reuse for another segment of the same
// generation has a probability of 2^-48.
type Handle uint64

// String returns the handle as 13 letters and digits, with which the names of its objects in the system end as well.
func (h Handle) String() string { return dsmimpl.HandleText(uint64(h)) }

// ParseHandle returns the handle that a text names, as String writes it. The text of 0, which is no handle, is an
// error.
func ParseHandle(s string) (Handle, error) {
	h, ok := dsmimpl.ParseHandleText(s)
	if !ok || h == 0 {
		return 0, fmt.Errorf("%q is not a handle: "+
			"a handle is 13 digits and letters, never i, l, o or u, as create prints it", s)
	}
	return Handle(h), nil
}

// MarshalText returns what String does, for JSON and its kin; 0, which is no handle, is empty.
func (h Handle) MarshalText() ([]byte, error) {
	if h == 0 {
		return nil, nil
	}
	return []byte(h.String()), nil
}

// UnmarshalText undoes MarshalText. An empty text is 0. With an error h is 0 too.
func (h *Handle) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*h = 0
		return nil
	}
	*h, err = ParseHandle(string(b))
	return err
}
