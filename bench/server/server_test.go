package server

import (
	"bytes"
	"os/exec"
	"testing"
)

// TestServers sets and gets, where the server is installed.
func TestServers(t *testing.T) {
	for _, p := range []*Program{Memcached(), Redis()} {
		t.Run(p.Name, func(t *testing.T) {
			if _, err := exec.LookPath(p.command); err != nil { // a test installs nothing
				t.Skip("skipped:", err)
			}
			if err := p.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := Start(p.Name, 64)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			value := bytes.Repeat([]byte("v\r\n"), 5000)
			if err := s.Set([]byte("key"), value); err != nil {
				t.Fatal(err)
			}
			got, found, err := s.Get([]byte("key"), []byte("before"))
			if err != nil || !found || !bytes.Equal(got, append([]byte("before"), value...)) {
				t.Errorf("%d bytes, %v, %v", len(got), found, err)
			}
			if got, found, err := s.Get([]byte("other"), nil); err != nil || found || len(got) > 0 {
				t.Errorf("%d bytes, %v, %v", len(got), found, err)
			}
			if p.Version() == "" {
				t.Error("no version")
			}
		})
	}
}
