package filemap

const (
	noSync    = 0
	noReserve = 0 // private pages are never reserved
)
