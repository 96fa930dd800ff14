package area_test

import (
	"context"
	"fmt"
	"log"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/supervisor"
)

// A heap whose segments are a session's. Its handle and an object's Pointer are all that another process needs.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		a, err := area.Create(ctx, s, nil, dsa.Options{Limit: 64 << 20})
		if err != nil {
			return err
		}
		p, err := a.Alloc(5)
		if err != nil {
			return err
		}
		b, err := a.Bytes(p)
		if err != nil {
			return err
		}
		copy(b, "hello")

		there, err := area.Attach(ctx, s, nil, area.Handle(a)) // another process
		if err != nil {
			return err
		}
		b, err = there.Bytes(p)
		fmt.Println(string(b), err)
		return there.Detach()
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello <nil>
}
