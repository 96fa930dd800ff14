package mq

// Asleep says which ends have said that they are about to sleep.
func (q *Queue) Asleep() (sender, receiver bool) {
	return q.h.sender.sleep.Load()&asleep != 0, q.h.receiver.sleep.Load()&asleep != 0
}
