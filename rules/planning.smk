# Planning in seconds. Snakemake does for every job of a run what is the same for all jobs of a rule, and a run of 1,000
# shards has 6,000. Here it does so once; what is run, and when, stays as it is.
import functools
import gc

import smart_open

# A graph of jobs is all live objects, among which Python looks for garbage in vain. The run itself has it looking again
# (onstart), which a workflow that uses this one as a module has not.
if workflow.modifier.is_main_snakefile():
    gc.disable()

# smart_open makes a class for each path that it parses; Snakemake parses that of each job's script three times.
smart_open.parse_uri = functools.cache(smart_open.parse_uri)
