"""Modules that answer instead of running, and are then as they were."""

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from triaxis.model.answering import answering
from triaxis.model.head import predict


class Count(ModelHook):
    """Counts the calls of a module."""

    calls = 0

    def pre_forward(self, module, *args, **kwargs):
        self.calls += 1
        return args, kwargs


def test_modules_answer_and_then_run_again():
    modules, x = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)], torch.ones(1, 2)
    before = [module(x) for module in modules]
    with answering((module, n) for n, module in enumerate(modules)):
        assert [module(x) for module in modules] == [0, 1]
    assert all("forward" not in vars(module) for module in modules)
    assert all(torch.equal(module(x), y) for module, y in zip(modules, before, strict=True))


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_hook_is_put_back_even_after_an_error(error):
    module, hook = torch.nn.Linear(2, 2), Count()
    add_hook_to_module(module, hook)
    own = module.forward
    try:
        with answering([(module, 3), (module, 4)]):
            assert module(torch.ones(1, 2)) == 4 and hook.calls == 0
            if error:
                raise error
    except RuntimeError:
        pass
    assert module.forward is own
    module(torch.ones(1, 2))
    assert hook.calls == 1


@torch.inference_mode()
def test_a_head_alone_leaves_the_hooks_of_its_model(build_model, hooked, state_of):
    model, ids = build_model("llama"), torch.arange(3, 15)[None]
    expected = model(input_ids=ids, use_cache=False).logits
    hooked(model)
    before = state_of(model)
    for _ in range(2):
        last = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        assert torch.equal(predict(model, last), expected)
        assert state_of(model) == before
