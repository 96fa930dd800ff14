// Package roster gives each session of a shared structure a seat of its own and records in it, which other sessions can
// find and clear when the session has died.
//
// It adds to dsa the question "what did that session have?". A structure that notes in a record of its session, before
// the first store to anything that others see, what the session is about to have, finds it again after a death at any
// instruction: by Each over the dead session's records. A record is named by a Ref of 32 bits, the same in every
// process. What a record says is the structure's own affair; the roster keeps no word of it, so there is nothing to
// repair here.
//
//	r, err := roster.Create[seat, record](area)        // or Attach
//	err = r.Join(sweep)                                // sweep clears what the last session in this row had
//	ref, rec, err := r.Take()                          // of this session; Give gives it back
//	rec.what.Store(...)
//	for row := range r.Rows() { ... }                  // in any process, without a lock
//
// Rows are those of the instance's table of sessions: two living sessions never have the same one. A seat and its
// records stay where they are until the area goes; the next session in the row has them, all zero again. So what At
// returns stays valid, and the memory of a row is that of the most records that a session had in it at once.
//
// # What a death leaves
//
//	who dies                                leaves                              and then
//	in Create                               objects without a handle            they go with the area
//	making a seat or a page, not placed     an object that "coming" owns        the next Join in the row frees it
//	making a seat or a page, placed         the object, owned by both words     the next Join clears "coming"
//	in Join, the seat made, peer not        the last peer's, or an empty seat   the next Join in the row
//	in Join, inside sweep                   the last peer's seat                the next Join, or who sweeps for others
//	with records                            the records as they are             sweeps, see above
package roster
