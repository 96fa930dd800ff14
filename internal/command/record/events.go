package record

// eventKey tells events of the instance's life apart, by all that an event says. The same event may come from the ring and, when
// the instance has ended, from the file, with its time in another location.
type eventKey struct {
	at         int64
	generation uint64
	text       string
}

// addEvents writes the events of the instance's life that came about since the recording began, each once.
func (r *recorder) addEvents() {
	told := map[eventKey]bool{}
	for i := range r.now.Events {
		e := r.now.Events[len(r.now.Events)-1-i] // the oldest first
		if e.Time.Before(r.begun) {
			continue
		}
		k := eventKey{e.Time.UnixNano(), e.Generation, e.String()}
		if told[k] = true; r.told[k] || !r.room(0) {
			continue
		}
		pid := r.now.Report.Status.Supervisor
		if e.Session != "" && e.Pid != 0 {
			pid = e.Pid
		}
		r.name(pid, e.Application)
		r.out.write(event{Name: e.Kind, Category: "event", Phase: "i", Scope: "p", Time: r.at(e.Time), Pid: pid,
			Args: map[string]any{"text": e.String(), "generation": e.Generation}})
	}
	r.told = told // what the instance does not tell any more can't come again
}

// name gives a process its name, when it is used for the first time: the supervisor's is the instance's.
func (r *recorder) name(pid int, application string) {
	if r.named == nil {
		r.named = map[int]bool{}
	}
	if st := r.now.Report.Status; pid == st.Supervisor {
		application = "instance " + st.Dir
	}
	if r.named[pid] || application == "" {
		return
	}
	r.named[pid] = true
	r.out.write(event{Name: "process_name", Phase: "M", Pid: pid, Args: map[string]any{"name": application}})
}
