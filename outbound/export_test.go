package outbound

// Asked is how many answers of transformers wait for a worker, and the data of their events in bytes.
func Asked(e *Engine) [2]int64 { return [2]int64{e.asked.jobs.Load(), e.asked.bytes.Load()} }
