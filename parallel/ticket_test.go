package parallel

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzTicket: a ticket comes from the environment, which any process may have written.
func FuzzTicket(f *testing.F) {
	whole := ticket{Version: ticketVersion, Dir: "/d", Generation: 3, Nonce: newTicketNonce(), Orders: 3, Reports: 4}
	f.Add(whole.String())
	f.Add("")
	f.Add("null")
	f.Add(`{"version":1,"dir":"/d","generation":1,"nonce":"x","orders":18446744073709551615,"reports":4294967299}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTicket(text)
		if err != nil {
			if !strings.Contains(err.Error(), ticketVariable) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := parseTicket(got.String()); err != nil || again != got {
			t.Errorf("%+v comes back as %+v, %v", got, again, err)
		}
	})
}

// FuzzPipes: each side reads what the other has written, or what some other process has.
func FuzzPipes(f *testing.F) {
	for _, v := range []any{
		order{Nonce: "x", Settings: map[string]string{"a": "b"}},
		order{Task: "t", Index: 1, Count: 2, Arg: json.RawMessage("{}")},
		report{Ready: true}, report{Done: true, Error: "e"},
	} {
		b, _ := json.Marshal(v)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var o order
			if d.Decode(&o) != nil {
				break
			}
			if _, err := json.Marshal(o); err != nil {
				t.Errorf("%+v can't be sent on: %v", o, err)
			}
		}
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var r report
			if d.Decode(&r) != nil {
				break
			}
		}
	})
}
