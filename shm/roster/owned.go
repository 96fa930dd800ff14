package roster

// Owned counts the objects that the roster has in its area, but for its own.
func (r *Roster[S, R]) Owned() (n int) {
	for row := range r.head.rows {
		if c := r.head.coming[row].Load(); c != 0 && c != r.head.rows[row].Load() {
			n++
		}
		if r.head.rows[row].Load() == 0 {
			continue
		}
		n++
		v, err := r.find(row)
		if err != nil {
			continue
		}
		coming := v.chair.coming.Load()
		if coming != 0 {
			n++
		}
		for k := range v.chair.pages {
			if p := v.chair.pages[k].Load(); p != 0 && p != coming {
				n++
			}
		}
	}
	return n
}
