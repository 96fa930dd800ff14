package cache

import (
	"bufio"
	"encoding/binary"
	"hash/fnv"
	"io"
	"sync"
)

// recorder writes a trace of lookups. A nil one writes nothing.
type recorder struct {
	mu  sync.Mutex
	out *bufio.Writer
	err error // ends the trace
}

func newRecorder(w io.Writer) *recorder {
	if w == nil {
		return nil
	}
	return &recorder{out: bufio.NewWriter(w)}
}

func (r *recorder) add(key []byte) {
	if r == nil {
		return
	}
	sum := fnv.New64a()
	_, _ = sum.Write(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, r.err = r.out.Write(binary.BigEndian.AppendUint64(nil, sum.Sum64()))
	}
}

func (r *recorder) close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.out.Flush()
	}
	err := r.err
	if r.err == nil {
		r.err = errEnded
	}
	return err
}
