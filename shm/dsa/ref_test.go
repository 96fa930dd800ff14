package dsa_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

type pair struct {
	A uint64
	B [3]uint32
}

func TestRef(t *testing.T) {
	a := create(t, &dsa.Heap{}, 1, small)
	r, v, err := dsa.New[pair](a)
	if err != nil || *v != (pair{}) {
		t.Fatal(v, err)
	}
	v.B[2] = 7
	if w, err := r.In(a); err != nil || w.B[2] != 7 {
		t.Error(w, err)
	}
	if _, _, err := dsa.New[[]int](a); err == nil {
		t.Error("a slice in shared memory")
	}
	if err := r.Free(a); err != nil {
		t.Error(err)
	}
	if _, err := r.In(a); !errors.Is(err, dsa.ErrPointer) {
		t.Error(err)
	}
	if s := fmt.Sprint(dsa.Pointer(r)); !strings.HasPrefix(s, "0.1+0x") {
		t.Error(s)
	}
}
