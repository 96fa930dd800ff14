package filemap

const noSync = 0
