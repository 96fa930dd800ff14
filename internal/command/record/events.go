package record

import "github.com/godsm/godsm/dsm"

// eventKey tells events of the instance's life apart: all that an event says.
type eventKey = dsm.Event

// addEvents writes the events of the instance's life that came about since the recording began, each once.
func (r *recorder) addEvents() {
	told := map[eventKey]bool{}
	for i := range r.now.Events {
		e := r.now.Events[len(r.now.Events)-1-i] // the oldest first
		if e.Time.Before(r.begun) {
			continue
		}
		if told[e] = true; r.told[e] || !r.room(0) {
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
