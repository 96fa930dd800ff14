package dsm

// owned is a Segment as its owner sees it: something to release.
type owned Segment

func (o *owned) Release() error { return (*Segment)(o).Detach() }

func (o *owned) String() string { return "segment " + (*Segment)(o).Handle().String() }
