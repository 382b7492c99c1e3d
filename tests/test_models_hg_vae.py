"""HG-VAE: the published size, latents that depend on what is above them alone, a loss that is a bound, and training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch.distributions import Normal, kl_divergence

from motionkit.models.elbo import log_evidence, log_posterior
from motionkit.models.gaussian import Gaussian
from motionkit.models.graph_layers import GraphBlock, GraphConv, added
from motionkit.models.hg_vae import HGVAE, PUBLISHED_CODE, HGVAEConfig, off_levels, sixteen_levels
from motionkit.training import TrainConfig, fit

TINY = HGVAEConfig(3, 8, levels=((9, 8), (4, 8), (1, 12)), trunk_features=16)


def build(config=TINY, alpha=0.3):
    """Every residual weight at ``alpha``: at 0, where training begins, the blocks would be invisible."""
    torch.manual_seed(0)
    model = HGVAE(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(alpha)
    return model


def clips(count=2, config=TINY):
    shape = (count, config.num_frames, config.num_joints, 3)
    return torch.linspace(-1, 1, math.prod(shape)).reshape(shape).sin()


# ---- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((6, 5), (2, 7)), ((2, 7), (6, 5)), ((3, 4), (3, 4))])
@pytest.mark.parametrize("has_node_bias", [True, False])
def test_a_graph_convolution_is_two_products_and_a_bias(shapes, has_node_bias, tolerance):
    torch.manual_seed(0)
    layer = GraphConv(*shapes, has_node_bias)
    x = torch.rand(3, *shapes[0])  # (batch, nodes, features): as in Eq. 4
    plain = torch.stack([layer.mix @ one @ layer.weight.t() for one in x]) + layer.bias.transpose(0, 1)
    torch.testing.assert_close(layer(x.transpose(0, 1)).transpose(0, 1), plain, **tolerance())


@pytest.mark.parametrize("has_node_bias", [True, False])
@pytest.mark.parametrize("shapes", [((4, 3), (6, 5)), ((6, 5), (4, 3)), ((5, 2), (1, 7)), ((1, 7), (5, 2))])
def test_a_graph_convolution_has_the_gradients_of_finite_differences(shapes, has_node_bias):
    torch.manual_seed(0)
    layer = GraphConv(*shapes, has_node_bias).double()
    names, values = zip(*layer.named_parameters(), strict=True)
    x = torch.randn(shapes[0][0], 3, shapes[0][1], dtype=torch.float64, requires_grad=True)

    def of(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(of, (x, *values))
    # with a part of the gradients wanted, that part is the same
    wanted = torch.randn_like(layer(x))
    every = torch.autograd.grad(layer(x), (x, *values), wanted)
    for number, value in enumerate((x, *values)):
        torch.testing.assert_close(torch.autograd.grad(layer(x), value, wanted)[0], every[number])
    layer.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(layer(x), x, wanted)[0], every[0])


@pytest.mark.parametrize("shape", [(1,), ()])
def test_what_is_added_has_the_gradients_of_finite_differences(shape):
    torch.manual_seed(0)
    x, y = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    alpha = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.equal(added(x, alpha, y), torch.addcmul(x, alpha, y))
    assert torch.autograd.gradcheck(added, (x, alpha, y))


def test_in_mixed_precision_gradients_are_near_and_of_the_parameters_type():
    model, x, grads = build(), clips(), []
    for is_mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            activation = model.up[0](model.nodes(x))[0]
            seen = model.infer(x)
            parts = [seen.output, *seen.posteriors, *seen.priors[1:]]  # that of z0 is the same for all
            loss = sum(part.mean.square().mean() + part.log_var.square().mean() for part in parts)
        assert activation.dtype == (torch.bfloat16 if is_mixed else torch.float32)
        assert seen.output.mean.dtype == seen.posteriors[0].log_var.dtype == torch.float32
        found = torch.autograd.grad(loss, list(model.parameters()))
        assert [grad.dtype for grad in found] == [parameter.dtype for parameter in model.parameters()]
        grads.append(torch.cat([grad.flatten() for grad in found]))
    exact, mixed = grads
    assert (mixed - exact).norm() <= 0.05 * exact.norm()


def test_compiled_it_is_the_same_function_and_hardly_longer_for_more_nodes(unchecked):
    """A sum that were unrolled node by node would keep a compiler busy for minutes, or break it."""
    lengths, totals = [], []

    def counted(graph, inputs):
        lengths.append(len(graph.graph.nodes))
        return make_boxed_func(graph.forward)

    compiler = aot_autograd(fw_compiler=counted, bw_compiler=counted)
    for num_joints in (3, 6):
        config = replace(TINY, num_joints=num_joints, levels=((3 * num_joints, 8), (4, 8), (1, 12)))
        model, x, found = build(config), clips(config=config), []
        for loss in (model.loss, torch.compile(model.loss, backend=compiler)):
            torch.manual_seed(0)
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(x, 0)["loss"]
            grads = torch.autograd.grad(value, list(model.parameters()))
            found.append(torch.cat([grad.flatten() for grad in grads]))
        plain, compiled = found
        assert (compiled - plain).norm() <= 0.02 * plain.norm()
        totals.append(sum(lengths))
        lengths.clear()
    assert 0 < totals[1] < 1.05 * totals[0]


def test_a_weight_too_small_to_be_seen_in_half_precision_can_grow():
    one, alpha = torch.ones(2, 3, 4), torch.full((1,), 0.001, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        total = added(one, alpha, one)
    assert torch.equal(total, torch.ones(2, 3, 4, dtype=torch.bfloat16))
    total.float().sum().backward()
    assert alpha.grad.item() == 24


def test_autocast_leaves_double_precision_alone():
    layer, x = GraphConv((4, 3), (2, 5)).double(), torch.rand(4, 2, 3, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), layer(x).double())
        assert layer(x).dtype == added(x, torch.ones(1, dtype=torch.float64), x).dtype == torch.float64


def test_a_block_begins_as_the_identity():
    torch.manual_seed(0)
    block, x = GraphBlock((4, 6)), torch.rand(4, 2, 6)
    assert torch.equal(block(x), x)
    block(x).sum().backward()
    assert block.alpha.grad.abs() > 0  # and can leave it


def test_divergence_and_density_are_those_of_normal_distributions(tolerance):
    torch.manual_seed(0)
    q, p = (Gaussian(torch.randn(5), torch.randn(5)) for _ in range(2))
    normal = [Normal(g.mean, (0.5 * g.log_var).exp()) for g in (q, p)]
    torch.testing.assert_close(q.divergence_from(p), kl_divergence(*normal), **tolerance())
    torch.testing.assert_close(q.log_prob(p.mean), normal[0].log_prob(p.mean), **tolerance())
    assert torch.equal(q.divergence_from(q), torch.zeros(5))


def test_divergence_is_what_draws_estimate():
    torch.manual_seed(0)
    q, p = Gaussian(torch.tensor([0.5]), torch.tensor([-1.0])), Gaussian(torch.tensor([-0.2]), torch.tensor([0.4]))
    many = Gaussian(q.mean.expand(200_000), q.log_var.expand(200_000)).sample()
    differences = q.log_prob(many) - p.log_prob(many)
    error = differences.std() / math.sqrt(len(many))
    assert abs(differences.mean() - q.divergence_from(p)) < 4 * error


# ---- the model -------------------------------------------------------------------------------------------------------


def test_the_public_layout_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in HGVAE(PUBLISHED_CODE).parameters()) == 2_602_713


def test_the_family_of_table_one_has_15_million_parameters():
    config = HGVAEConfig(levels=sixteen_levels())
    with torch.device("meta"):
        assert sum(p.numel() for p in HGVAE(config).parameters()) == 15_011_486
    assert len(config.levels) == 16


def test_all_depths_have_the_same_parameters_and_as_many_levels_drawn():
    with torch.device("meta"):
        counts = {
            sum(p.numel() for p in HGVAE(replace(TINY, off_levels=off_levels(3, depth))).parameters())
            for depth in (1, 2, 3)
        }
    assert len(counts) == 1
    for keep, first in (("lowest", 15), ("highest", 0)):
        for depth in (1, 2, 4, 8, 16):
            off = off_levels(16, depth, keep)
            assert len(off) == 16 - depth
            assert first not in off
    with pytest.raises(ValueError, match="depth must be 1 to 4, got 5"):
        off_levels(4, 5)


@pytest.mark.parametrize("layout", ["paper", "published_code"])
def test_shapes_and_the_way_to_nodes_and_back(layout, tolerance):
    config = replace(TINY, layout=layout)
    model, x = build(config), clips(2)
    nodes = model.nodes(x)
    assert nodes.shape == (9, 2, 8)
    torch.testing.assert_close(nodes.norm(), x.norm(), **tolerance())
    seen = model.infer(x)
    assert [tuple(z.shape) for z in seen.latents] == [(1, 2, 12), (4, 2, 8), (9, 2, 8)]
    assert seen.output.mean.shape == seen.output.log_var.shape == x.shape


def test_the_public_program_takes_runs_of_a_reshaped_clip_and_the_inverse_transform():
    model, x = build(replace(TINY, layout="published_code")), clips(2)
    expected = scipy.fft.idct(x.double().numpy().reshape(2, 9, 8), norm="ortho")
    np.testing.assert_allclose(model.nodes(x).transpose(0, 1).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(model.nodes.mean_clips(model.nodes(x)), x)
    for module in HGVAE(replace(TINY, layout="published_code")).modules():
        if isinstance(module, GraphConv):
            most = 1 / math.sqrt(len(module.weight))
            assert module.bias.shape == (1, 1, len(module.weight))  # one for all nodes
            for values in module.parameters():
                assert values.abs().max() <= most
            assert module.weight.abs().max() > 0.7 * most


def test_what_is_left_out_changes_nothing_else(tolerance):
    model, x = build(), clips()
    whole, lean = model.infer(x, is_drawn=False), model.infer(x, is_drawn=False, has_output=False)
    torch.testing.assert_close(model.reconstruct(x), whole.output.mean, **tolerance())
    torch.testing.assert_close(log_posterior(lean), log_posterior(whole), **tolerance())
    assert all(posterior.log_var.isnan().all() for posterior in lean.posteriors)


def test_the_top_of_clips_is_what_they_are_inferred_to_have_and_what_generation_begins_with():
    x, classes = clips(), torch.tensor([0, 2])
    for config, labels in (
        (TINY, None),
        (replace(TINY, num_classes=3), classes),
        (replace(TINY, off_levels=(0,)), None),
    ):
        model = build(config)
        z0 = model.top_of(x)
        assert torch.equal(z0, model.infer(x, labels, is_drawn=False).posteriors[0].mean)
        assert model.generate(z0, labels).mean.shape == x.shape


def test_nodes_are_the_coordinates_of_joints():
    still = clips(1)[:, :1].expand(-1, 8, -1, -1)  # nothing moves: all that is not constant is 0, at every node
    coefficients = build().nodes(still)[:, 0]
    torch.testing.assert_close(coefficients[:, 0], still[0, 0].flatten() * math.sqrt(8))
    assert coefficients[:, 1:].abs().max() < 1e-6
    reshaped = build(replace(TINY, layout="published_code")).nodes(still)[:, 0]
    assert reshaped[:, 1:].abs().max() > 0.1  # the public layout mixes joints and frames


def test_a_lower_latent_changes_nothing_above_it():
    model, x = build(), clips()
    for level in range(3):
        runs = []
        for shift in (0.0, 1.0):
            drawn = model._drawn
            model._drawn = lambda number, d, _, s=shift, at=level: d.mean + s * (number == at)
            runs.append(model.infer(x))
            model._drawn = drawn
        same = [torch.equal(a.mean, b.mean) for a, b in zip(runs[0].priors, runs[1].priors, strict=True)]
        assert same == [number <= level for number in range(3)]
        assert not torch.equal(runs[0].output.mean, runs[1].output.mean)


def test_samples_are_drawn_down_to_a_level():
    model = build()
    z0 = model.sample_top(3)
    means = [model.generate(z0, drawn_levels=0).mean for _ in range(2)]
    draws = [model.generate(z0, drawn_levels=1).mean for _ in range(2)]
    assert torch.equal(*means)
    assert not torch.equal(*draws)


def test_temperatures_lead_from_the_mean_to_a_draw_level_by_level():
    model = build()
    z0 = model.sample_top(3)

    def drawn(*temperatures, **options):
        torch.manual_seed(7)
        return model.generate(z0, temperatures=temperatures or None, **options).mean

    assert torch.equal(drawn(1, 1, 1), drawn())
    assert torch.equal(drawn(1, 0, 0), drawn(drawn_levels=0))
    assert torch.equal(drawn(0, 0, 0)[0], drawn(0, 0, 0)[1])  # the one clip that is the mean of all priors
    after = {(drawn(*temperatures), torch.rand(1).item())[1] for temperatures in [(1, 1, 1), (0, 0.5, 1), (1, 0, 0)]}
    assert len(after) == 1  # the same noise for each level, whatever the others' temperatures
    for wrong, message in [((1, 1), "2 temperatures for 3 levels"), ((1, 1, 1, 1), "4 temperatures for 3 levels")]:
        with pytest.raises(ValueError, match=message):
            drawn(*wrong)
    with pytest.raises(ValueError, match="drawn_levels is 1, and temperatures are given"):
        drawn(1, 1, 1, drawn_levels=1)


def test_a_class_changes_what_is_drawn_and_must_be_given():
    model = build(replace(TINY, num_classes=2))
    z0 = model.sample_top(2)
    drawn = [model.generate(z0, torch.tensor([label] * 2), drawn_levels=0).mean for label in (0, 1)]
    assert not torch.equal(*drawn)
    with pytest.raises(ValueError, match="num_classes is 2, and classes are missing"):
        model.infer(clips())
    with pytest.raises(ValueError, match="num_classes is 0, and classes are given"):
        build().infer(clips(), torch.tensor([0, 1]))


def test_a_level_that_is_off_is_a_mean_and_costs_nothing():
    x = clips()
    torch.manual_seed(1)
    whole = build().loss(x, 1)
    torch.testing.assert_close(whole["kl"], sum(whole[f"kl/{level}"] for level in range(3)))
    for latent in ("prior", "posterior"):
        off = build(replace(TINY, off_levels=(1, 2), off_latent=latent))
        parts = off.loss(x, 1)
        assert torch.equal(parts["kl"], parts["kl/0"])
        assert (latent == "prior") == (parts["kl/1"] == parts["kl/2"] == 0)
        seen = off.infer(x)
        assert not log_posterior(seen)[1:].any()
        top = seen.priors[0].log_prob(seen.latents[0]) - seen.posteriors[0].log_prob(seen.latents[0])
        torch.testing.assert_close(log_evidence(seen, x), seen.output.log_prob(x) + top.sum((0, 2)))
        model = build(replace(TINY, off_levels=(0, 1, 2), off_latent=latent))
        assert torch.equal(model.infer(x).output.mean, model.infer(x).output.mean)


def test_levels_that_take_the_priors_mean_know_nothing_of_the_clip():
    x, other = clips(), clips().flip(0) + 0.1
    for latent, knows in (("prior", False), ("posterior", True)):
        model = build(replace(TINY, off_levels=(0, 1, 2), off_latent=latent))
        for make in (model.reconstruct, lambda clips, model=model: model.infer(clips).output.mean):
            assert torch.equal(make(x), make(other)) != knows
            torch.testing.assert_close(make(x), model.infer(x, is_drawn=False).output.mean)


def test_the_loss_is_the_mean_log_weight_of_draws_and_bounded_by_the_evidence():
    """The bound is the mean of what ``log_evidence`` tells of draws; test_metrics_scores has what that leads to."""
    model, x = build(), clips(1)
    with torch.no_grad():
        seen = model.infer(x.expand(4000, -1, -1, -1))
        weights = log_evidence(seen, x.expand(4000, -1, -1, -1))
        bound = -model.loss(x.expand(4000, -1, -1, -1), 1)["loss"]
    spread = weights.std() / math.sqrt(len(weights))
    assert abs(weights.mean() - bound) < 5 * spread
    assert torch.logsumexp(weights, 0) - math.log(len(weights)) > bound


def test_the_divergence_warms_up_in_a_line():
    model = build(replace(TINY, kl_start=0.2, kl_steps=4))
    assert [round(model.kl_weight(step), 6) for step in (0, 2, 4, 9)] == [0.2, 0.6, 1.0, 1.0]


def test_the_log_posterior_is_highest_where_posterior_and_prior_agree():
    model, x = build(), clips(2)
    seen = model.infer(x, is_drawn=False)
    expected = sum(Normal(p.mean, (0.5 * p.log_var).exp()).log_prob(q.mean).sum((0, 2))
                   for p, q in zip(seen.priors, seen.posteriors, strict=True))  # fmt: skip
    torch.testing.assert_close(log_posterior(seen).sum(0), expected)


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model, x = HGVAE(TINY), clips(4)
    before = model.loss(x, 1)
    fit(model, lambda _: x, TrainConfig(300, lr=5e-3, schedule="constant", clip_norm=100.0, progress="off"))
    after = model.loss(x, 1)
    assert after["mse"] < 0.02 * before["mse"]
    assert after["log_likelihood"] > before["log_likelihood"] + 100


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_joints": 0}, "num_joints must be at least 1, got 0"),
        ({"levels": ()}, "levels must be pairs"),
        ({"levels": ((4, 0),)}, "levels must be pairs"),
        ({"off_levels": (3,)}, "off_levels must be 0 to 2, got 3"),
        ({"off_latent": "mean"}, "off_latent must be 'prior' or 'posterior', got 'mean'"),
        ({"kl_start": 1.5}, "kl_start must be 0 to 1, got 1.5"),
        ({"layout": "code"}, "layout must be 'paper' or 'published_code', got 'code'"),
    ],
)
def test_impossible_configurations_are_refused(values, message, unchecked):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **values)


def test_clips_of_another_shape_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"clips have shape \(2, 7, 3, 3\); expected \(batch, 8, 3, 3\)"):
        build().infer(torch.zeros(2, 7, 3, 3))


def test_a_z0_that_never_told_anything_is_not_drawn():
    config = HGVAEConfig(3, 8, levels=((9, 8), (4, 8), (1, 12)), trunk_features=16, off_levels=(0,))
    assert not HGVAE(config).sample_top(3).any()
    assert HGVAE(replace(config, off_latent="posterior")).sample_top(3).any()
