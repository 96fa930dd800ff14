//go:build linux

package crashtest

import "slices"

// scenario is a piece of an instance's life with a victim in it.
type scenario struct {
	name     string
	settings []string
	backends []string // nil: those of the system
	fault    string   // a plan that always comes with the victim's; FAULT is the backend's removal
	play     func(w *world)
	check    func(w *world) // nil: world.check
}

// scenarios are all of them, by topic.
var scenarios = slices.Concat(sessionScenarios, regionScenarios, supervisorScenarios, lossScenarios, privateScenarios)
