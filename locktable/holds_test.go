package locktable

import "testing"

// TestHoldsOfOneHash keeps holds whose names have one hash apart, in whatever order they go.
func TestHoldsOfOneHash(t *testing.T) {
	names := []string{"a", "b", "c"}
	for gone := range names {
		hs, list := holds{}, map[string]*hold{}
		for _, name := range names {
			k, err := encode(nil, []string{name})
			if err != nil {
				t.Fatal(err)
			}
			h := &hold{key: k, ident: 7}
			h.twin, hs[7], list[name] = hs[7], h, h
		}
		hs.remove(list[names[gone]])
		hs.remove(list[names[gone]]) // twice is harmless
		for i, name := range names {
			want := list[name]
			if i == gone {
				want = nil
			}
			if got := hs.holdOf(list[name].key, 7); got != want {
				t.Errorf("without %s: %s is %p, want %p", names[gone], name, got, want)
			}
		}
	}
}
