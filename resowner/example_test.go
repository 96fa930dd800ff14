package resowner_test

import (
	"fmt"
	"log"

	"github.com/godsm/godsm/resowner"
	"github.com/rs/zerolog"
)

// lamp is a resource: its Item is the owner's memory of it.
type lamp struct {
	item resowner.Item
	room string
}

func (l *lamp) String() string { return "lamp of the " + l.room }

func (l *lamp) Release() error { fmt.Println("off:", l); return nil }

// An owner releases what it remembers when it ends, newest first, and its children before that.
func Example() {
	house := resowner.New("house", zerolog.Logger{}) // Session.Owner is such a one
	light := func(o *resowner.Owner, room string) {
		if err := o.Reserve(); err != nil { // before the resource is acquired
			log.Fatal(err)
		}
		l := &lamp{room: room}
		if err := o.Remember(&l.item, l); err != nil {
			log.Fatal(err)
		}
	}
	light(house, "hall")
	light(house, "kitchen")
	floor, err := house.Child("upper floor")
	if err != nil {
		log.Fatal(err)
	}
	light(floor, "bedroom")
	fmt.Println(house.Abort())
	// Output:
	// off: lamp of the bedroom
	// off: lamp of the kitchen
	// off: lamp of the hall
	// <nil>
}
