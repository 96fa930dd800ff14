// Package fault tells faults, which are panics in a scope of debug.SetPanicOnFault, from other panics.
package fault

// Of returns the fault that r, which recover returned, is; nil if there was no panic. Any other panic goes on.
func Of(r any) error {
	if r == nil {
		return nil
	}
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	return f
}
