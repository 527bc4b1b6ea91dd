# Planning in seconds: a run of 1,000 shards has 6,000 jobs. What is run, and when, stays as it is.
import gc

from snakemake import dag as planner

# A graph of jobs is all live objects, among which Python looks for garbage in vain. The run itself has it looking again
# (onstart), which a workflow that uses this one as a module has not.
if workflow.modifier.is_main_snakefile():
    gc.disable()

# For each job Snakemake looks whether its script is there, and reads it: a tenth of a dry run. Once
# for each rule will do.
look = planner.ScriptProcessor.process_job
looked = set()


def look_once(self, job):
    name = job.rule.name
    if name not in looked:
        looked.add(name)
        look(self, job)


planner.ScriptProcessor.process_job = look_once
