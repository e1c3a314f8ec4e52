"""Words by what they do in a clause about tuning: the kinds, and the English table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Kind(Enum):
    """What a word or phrase does in a clause."""

    SUBJECT = auto()  # AutoML, HPO
    SAMPLER = auto()  # one way to search among others
    TUNE = auto()  # tune, search: a noun or verb that may have an object
    TRIALS = auto()
    HYPER = auto()  # hyperparameters
    PARAM = auto()  # one hyperparameter by name
    SETTING = auto()  # settings, spec
    ALL = auto()  # anything, everything
    NO = auto()  # negates the noun that follows
    NOT = auto()  # negates the verb that follows, or the subject before it
    AFTER_NO = auto()  # negates the noun before it
    OFF = auto()
    ON = auto()
    USE = auto()  # verbs of using, starting, wanting
    WITH = auto()
    FILL = auto()  # carries a negation on
    OF = auto()  # a preposition before an object; carries a negation on
    TRAIN = auto()
    RUN = auto()  # use or training
    ADJ = auto()  # plain, single, normal
    JUST = auto()
    ONCE = auto()
    DIRECTLY = auto()
    EXACT = auto()  # makes settings fixed
    CHANGE = auto()  # verbs of changing
    FIND = auto()
    BEST = auto()  # best, different, several
    FINE = auto()  # fine-tuning of weights
    EXCEPT = auto()
    LIMIT = auto()  # more than, too long
    THING = auto()  # takes a negation on itself
    OTHER = auto()  # makes a search or an optimization one of another kind
    IT = auto()
    YES = auto()
    HEDGE = auto()
    ASK = auto()  # begins a question
    POLITE = auto()  # makes a question a request
    IF = auto()
    ONLY_IF = auto()
    BECAUSE = auto()
    PAST = auto()
    PAST_VERB = auto()  # past after I, we, ...; a participle otherwise
    WHO = auto()  # I, we, ...
    LATER = auto()
    NOW = auto()
    CORRECT = auto()  # takes back what was said
    ALREADY = auto()
    GOOD = auto()  # judges well
    BAD = auto()  # judges badly
    OR = auto()
    AND = auto()
    BREAK = auto()  # begins a clause
    THAT = auto()
    ENOUGH = auto()
    RESULT = auto()  # found, chosen
    PLAIN = auto()  # a plain training, put together from several words
    WORD = auto()  # any other


def words(text: str) -> frozenset[str]:
    """The words and phrases of a list with commas."""
    return frozenset(" ".join(phrase.split()) for phrase in text.split(","))


ENGLISH: Final[Mapping[Kind, str]] = {
    Kind.SUBJECT: """automl, auto ml, automls, auto machine learning, automated machine learning, automatic machine
        learning, automated ml, automatic ml, hpo, hpt, auto tuning, auto tune, autotune, autotuning, auto tuner,
        autotuner, automatic tuning, automatic search, parameter search, parameter searches, param search,
        parameter sweep, parameter sweeps, parameter tuning, parameter optimization, parameter optimisation, search
        space""",
    Kind.SAMPLER: """grid search, gridsearch, random search, randomsearch, bayesian optimization, bayesian
        optimisation, bayesian search, bayes opt, optuna, tpe, cma es, cmaes, hyperband, asha, bohb, successive
        halving, ray tune, raytune, keras tuner, hyperopt, evolutionary search, population based training, gp
        sampler""",
    Kind.TUNE: """tune, tunes, tuned, tuning, tuner, search, searches, searched, searching, optimize, optimizes,
        optimized, optimizing, optimise, optimises, optimised, optimising, optimization, optimisation,
        optimizations, sweep, sweeps, sweeping, model selection, tunning""",
    Kind.TRIALS: "trials, n trials, num trials, max trials, number of trials, search trials, trial count",
    Kind.HYPER: """hyperparameter, hyperparameters, hyper parameter, hyper parameters, hyperparam, hyperparams,
        hyper param, hyper params, hparams, hparam, hps, hyperparamter, hyperparamters, hyperparemeter,
        hyperparemeters, hyper paramters, hyper paramter""",
    Kind.PARAM: """lr, learning rate, learning rates, learningrate, lrs, momentum, momentums, dropout, drop out,
        dropouts, dropout rate, weight decay, weightdecay, wd, batch size, batch sizes, batchsize, graph strategy,
        strategy, nesterov, milestones, lr steps, gamma, warmup, label smoothing, num epochs, number of epochs,
        epochs, seed, optimizer, optimiser, optimizers, optim, scheduler, lr scheduler, learning rate schedule,
        augmentation, augmentations, window size, input channels, patience, architecture, neural architecture,
        network architecture, gradient clipping, clip grad norm, kernel size, temporal kernel, learning rate decay,
        lr decay""",
    Kind.SETTING: """setting, settings, configuration, configurations, config, configs, parameter, parameters,
        params, values, spec, specs, specification, options""",
    Kind.ALL: """setting, any other, any other one, parameter, parameters, params, settings, anything, anything
        else, everything, everything else, all, any of them, all of them, every parameter, the rest, others, whole
        lot""",
    Kind.NO: """no, without, w o, wo, minus, sans, non, zero, neither, nor, none, none of, no kind of, free of,
        free from, no point in, no point, no use in, no sense in, no sense, lacking, devoid of, instead of, rather
        than, in place of, in lieu of, as opposed to, no more, no further, no one, nobody, nothing, nope, nah, nay,
        no longer, w out, without any, with no, unlike""",
    Kind.NOT: """not, never, ever never, cannot, dont, doesnt, isnt, wont, shouldnt, mustnt, wouldnt, cant,
        couldnt, didnt, arent, aint, neednt, hardly, against, by no means, under no circumstances, in no way, on no
        account, in no case, not at all, not in any way, far from, n t, do nt, not ever, havent, hasnt, wanna not""",
    Kind.OFF: """of no interest, of no use, of no value, of no concern, no option, give up, give up on, giving up,
        giving up on, verboten, the last thing, last thing, declined, refused, rejected, vetoed, opposed, ruled
        out, rule out, off, done with, finished with, through with, opting out of, opting out, opted out of, leave
        it, leave it out, let it be, leave it be, had enough of, disable, disables, disabled, disabling,
        deactivate, deactivates, deactivated, deactivating, turn off, turns off, turned off, turning off, switch
        off, switched off, switching off, shut off, shut down, shutting off, skip, skips, skipped, skipping, omit,
        omits, omitted, omitting, bypass, bypassed, bypassing, bypasses, avoid, avoids, avoided, avoiding, leave
        out, leaving out, left out, drop, dropped, dropping, stop, stops, stopped, stopping, refrain from, abstain
        from, forget, forget about, forgo, forego, ditch, kill, cancel, cancelled, canceled, abort, exclude,
        excluded, excluding, remove, removed, removing, suppress, suppressed, opt out, opt out of, get rid of,
        getting rid of, do away with, hold off, hold off on, stay away from, steer clear of, keep away from,
        unnecessary, unneeded, unwanted, undesired, needless, superfluous, redundant, pointless, false, inactive,
        spare me, spare us, quit, cease, prevent, forbid, forbidden, prohibit, prohibited, ignore, ignoring,
        reject, decline, refuse, never mind, nevermind, eliminate, leave aside, set aside, pass on, go easy on, cut
        out, cut, banned, ban, discard, unset, replace, hesitate, hesitate to, fed up with, sick of, tired of,
        hate, dislike, excluded from, dispense with, veto, out of the question, off the table, off limits, taboo, a
        no go, no go, block, blocked, blocking, scrap, scratch, nix, lose, hold, bin, axe, halt, pause, postpone,
        defer, delay, end, silence, mute, strip, strike, cross out, cut off, put off, switch out, keep out,
        abandon, abolish, detest, loathe, despise, oppose, object to, resist, decline to, deny, deselect, uncheck,
        untick, deprecate, terminate""",
    Kind.ON: """leave it on, keep it on, enable, enables, enabled, enabling, activate, activated, activating, turn
        on, turned on, turning on, switch on, switched on, switching on, true, active, auto, automatic""",
    Kind.USE: """goal, goal is, aim, purpose, worth, worth it, worth the effort, worth the time, worth the trouble,
        worth the cost, quota, quota for, credits, credits for, d like, would like, d love, would love, id like, i
        d like, id love, use, uses, using, usage of, used, do, doing, done, does, perform, performing, performed,
        conduct, execute, executing, start, starts, starting, started, launch, launching, launched, kick off,
        begin, want, wants, wanted, need, needs, needed, needing, try, trying, make, go, go for, make use of,
        apply, applying, invoke, call, trigger, include, including, involve, involving, required, require,
        requires, add, allow, permit, permitted, allowed, employ, utilize, utilise, rely on, attempt, carry out,
        give me, insist on, opt for, choose, prefer, preferred, engage, schedule, submit, spawn, set up, proceed
        with, continue with, come with, recommend, keep on, bother, bother to, get into, resort to, waste, spend,
        attempted, wanting, interested in, interested, in the mood for, keen on, looking for, in favour of, in
        favor of, care for, up for, desired, welcome, necessary, mandatory, optional, warranted, helpful,
        worthwhile, see the need for, see a need for, see any need for, see the point of, see the point in, see any
        point in, time, time for, budget, budget for, need for, need of, reason, reason to, reason for, point in,
        use for, appetite for, intention of, plans for, resources for, capacity for, patience for, necessity,
        necessity for, desire, interest in, room for, call for, demand for, wish, justification for, benefit from,
        to be used, worry about, afford, rerun, repeat, ask, ask for, asking for, asked for, request, requested,
        place for, money for, waste time on, waste any time on, waste time with, waste compute on, waste gpu time
        on, waste hours on, waste resources on, bother with, spend time on, spend any time on, spend hours on,
        spend compute on, spend time with, triggered, executed, invoked, employed, conducted, included, considered,
        initiated, activated again, dare, compute, compute for, resources, capacity, hardware, energy, power, power
        for, hardware for, memory for, nerve for, nerves for""",
    Kind.WITH: "with, via, through, by means of, including",
    Kind.RUN: "run, runs, running, session, job, fit, fitting, pass",
    Kind.FILL: """unless i say otherwise, unless told otherwise, unless we say otherwise, as last week, like last
        week, anymore, any more, any longer, way, if it s all the same to you, if it is all the same to you, if it
        s possible, if that s possible, if that s ok, if it s ok, status, state, stay, stays, remain, remains,
        staying, remaining, can not wait, cannot wait, cant wait, another, second, next, if so, if yes, more than
        one, more than 1, more than a single, a, an, the, this, these, those, my, your, our, its, any, some, one,
        please, pls, plz, kindly, thanks, thank you, thank, thx, cheers, to, be, been, being, is, are, am, s, m,
        re, ve, ll, d, t, will, would, shall, should, must, may, can, could, ought, ought to, going, gonna, wanna,
        have, has, having, got, get, gets, getting, let, lets, us, me, him, so, too bad, also, too, as well, at
        all, whatsoever, ever, really, actually not, just now, here, there, kind, kind of, sort of, type of, form
        of, sorts, bit of, bit, at, by, in, into, from, up, out, about, as, than, then again, like, such, very,
        quite, completely, entirely, totally, fully, definitely, certainly, absolutely, strictly, explicitly,
        simply put, policy, mode, flag, feature, step, phase, part, stage, process, procedure, argument, option,
        value, set, turn, turns, turning, switch, switching, leave, leaving, keep, keeping, put, take, takes,
        taking, want to, would like, like to, id, im, ill, ive, own, little, full, fully automatic, automated,
        automatically, think, believe, feel, guess not, suppose, see, say, says, said so, know that, mean, mean to,
        intend, intend to, plan, plan to, planning to, hello, hi, hey, dear, ok, okay, well, alright, right, case,
        in any case, on your own, yourself, by yourself, again, based, only, even, yet, still, either, both, each,
        every, whole, entire, side, off we go, was told to, were told to, was told, was asked to, was instructed
        to, told me to, told me, told us, asked me to, asks me to, says to, first, was wondering, was hoping, was
        thinking, were hoping, if possible, if you can, if you could, if you please, if you do not mind, if you
        dont mind, if it is possible, if thats possible, if that is possible, if that is ok, if available, if it is
        available, if i may, same as last time, as last time, like last time, same as before, as before, like
        before, as yesterday, like yesterday, than last time, unlike last time, unlike before, same as yesterday,
        as always, as usual, thats, thats fine, makes sense, make sense, helps, it helps, useful, model, network,
        experiment, task, particular, specific, extra, additional, further, expensive, costly, lengthy, fancy,
        stupid, damn, bloody, separate, big, large, huge, small, short, quick, long, whichever, thing, things,
        stuff, kinds, business, nonsense, approach, method, algorithm, engine, tool, tools, pipeline, sure, of
        course, obviously, clearly, note that, remember, remember to, make sure, make sure to, make sure that,
        ensure, ensure that, be sure to, for that, for this, for now only, happen, happens, happening, occur,
        place, involved, circumstances, account, something, nothing against, nothing speaks against, nothing wrong
        with, no objection to, no objections to, no objection against, us to, you to, lot, lots, attached, by
        default""",
    Kind.OF: "of, for, over, on, concerning, regarding, on top of, during, across",
    Kind.TRAIN: """train, trains, training, trainings, retrain, retraining, re train, traning, trainning, training
        run""",
    Kind.ADJ: """1, un tuned, un searched, plain, simple, direct, vanilla, single, sole, normal, regular, ordinary,
        standard, usual, basic, bare, straight, straightforward, conventional, classic, classical, unsearched,
        untuned, one, pure, individual, one off, one time, one shot""",
    Kind.JUST: "just, only, simply, merely, solely, nothing but, all i want is, purely",
    Kind.ONCE: """once, one time, one single time, a single time, just once, only once, exactly once, 1 time, once
        only, 1x""",
    Kind.DIRECTLY: "directly, plainly, straight away, straightforwardly, normally, ordinarily, straight",
    Kind.EXACT: """as in my spec, as in the config, as in my config, as in the file, as in my file, as in spec,
        final, decided, set in stone, exactly, exact, precisely, as they are, as it is, as is, as it stands, as
        they stand, unchanged, fixed, fix, unmodified, unaltered, verbatim, as given, as written, as specified, as
        provided, as stated, as set, alone, untouched, constant, stick to, stick with, sticking to, keep to,
        frozen, freeze, as i set them, as i wrote them, as i gave them, as in the spec, only these, only those,
        only my, nothing else, and no others, to the letter, same, strictly these, as defined, as listed, i gave
        you, i gave, i specified, i provided""",
    Kind.CHANGE: """deviate from, depart from, stray from, experimenting with, experimenting, experiment, playing
        around with, varied, change, changes, changed, changing, alter, altering, modify, modifying, touch,
        touching, vary, varying, adjust, adjusting, tweak, tweaking, play with, playing with, mess with, messing
        with, fiddle with, override, overriding, edit, experiment with, play around with, adapt""",
    Kind.FIND: """find, finding, look for, looking for, look out for, discover, explore, exploring, try, trying,
        try out, trying out, determine, figure out, choose, pick, pick out, select, hunt for, hunting for, test,
        testing, evaluate, compare, comparing, identify, get, give me, work out, experiment with, run through,
        scan, vary, varying, check, seek""",
    Kind.BEST: """best, better, optimal, good, ideal, right, different, several, multiple, various, other,
        alternative, many, more, new, combinations of, a range of, a few, optimum, suitable, best possible, number
        of""",
    Kind.FINE: """fine tune, fine tunes, fine tuned, fine tuning, finetune, finetunes, finetuned, finetuning, fine
        tunning""",
    Kind.EXCEPT: """except, except for, apart from, besides, other than, aside from, save for, anything but,
        excepting, anything except, with the exception of, everything but, all but, all except, everything except""",
    Kind.LIMIT: """delete, show, print, save, store, plot, display, upload, overwrite, record, watch, monitor, wait
        for, waiting for, wait until, stop after, stop at, stop when, stop once, stop early, stopping after, more
        than, longer than, larger than, too long, too many, too much, exceed, exceeding, exceeds, beyond, above,
        for long, for hours, for days, forever, no more than, not more than, no longer than, not longer than, never
        more than, not over, not exceed, for more than, for longer than, too far, too broadly, too widely, too big,
        too large, too deep, too deeply, no fewer than, not fewer than, no less than, not less than, fewer than,
        less than, too few, too aggressively, too hard, limit, restrict, constrain, narrow, cap, shorten,
        interrupt, disturb, confine, curtail, not more, not longer, not much more, not by much""",
    Kind.THING: """training schedule, training example, training examples, training script, training loop, training
        code, training pipeline, label, labels, gpu, gpus, cuda, cpu, cpus, data, dataset, datasets, data set, test
        set, test data, test split, validation set, validation data, validation split, val set, holdout, training
        set, training data, train set, train data, training split, limit, limits, time limit, budget limit, time
        budget, epoch budget, deadline, pruner, pruners, pruning, sampler, database, storage, tensorboard, logging,
        logs, log, wandb, weights, checkpoint, checkpoints, pretrained weights, pretrained model, noise, frames,
        joints, persons, people, classes, class, sequences, sequence, samples, recordings, videos, images, clips,
        resume, resuming, early stopping, early stop, mixed precision, amp, errors, error, warnings, problem,
        problems, problem with, issue, issues, doubt, hurry, rush, results, result, report, plots, parallelism,
        parallel workers, workers, loss, curve, curves, history, folder, directory, file, files, batch, batches,
        steps, accuracy, metric, metrics, export, evaluation, split, splits, subset, fold, folds, validation, noise
        reduction, normalization, shuffling, restriction, restrictions, constraint, constraints, interruption,
        delay, supervision, matter what, matter how, objection, objections, worries, set of""",
    Kind.OTHER: """party, parties, dog, dogs, warrant, area, team, internet, web, google, folder, folders,
        subfolder, subfolders, subdirectory, subdirectories, folder tree, hard disk, usb stick, directory,
        directories, disk, disks, file, files, docs, documentation, database, literature, repo, repository, github,
        papers, paper, logs, log, checkpoint, checkpoints, path, paths, text, pages, online, filesystem, home,
        cloud, bucket, s3, onnx, memory, speed, latency, code, runtime, inference, export, io, throughput, loader,
        data loader, dataloader, engine, index, bar, image, images, video, videos, recordings, weights, pretrained
        weights, storage, disk space, string, books, drive, hard drive, machine, net, graph, engine file, missing
        joints, camera, cameras, labels, label, dataset, archive, archives""",
    Kind.IT: "it, that, them, this one, that one, that thing, those things, itself",
    Kind.YES: "yes, yeah, yep, yup, sure, of course, affirmative, absolutely, go ahead, definitely",
    Kind.HEDGE: """hm, eh, maybe, perhaps, possibly, not sure, unsure, whether, whether or not, might, i guess, do
        not know, dont know, unclear, undecided, wonder, wondering, wonder if, no idea, not certain, uncertain, or
        not, with or without, on or off, off or on, what do you think, your opinion, your call, up to you, you
        decide, depends, depending on, might be, it depends, hmm, not decided, not convinced, no preference, not
        yet decided, do not care, dont care, probably, single trial, just one trial, only one trial, one trial
        only, question, not quite sure, presumably, tempted, thinking about, considering, torn between, could be
        that, may be that, on and off, mixed feelings, in two minds, of two minds""",
    Kind.ASK: """should i, should we, shall we, shall i, do i, do we, do you, does it, does, is, are, is it, is
        there, will it, would it, did, was, has, have you, am i, what is, what does, what are, why, why is, why
        does, why was, what about, when, where, who, must i, must we, what, how, would that, does this, need i,
        ought we""",
    Kind.POLITE: """can you, could you, would you, will you, can we, could we, may we, may i, can i, could i, might
        we, would you mind, how about, why not, why do not we, why dont we, why do not you, why dont you, is it
        possible to, would it be possible to, please, pls, plz, how many, which, i would like, could it be, can
        this be, can it be, mind""",
    Kind.IF: "if, unless, in case, provided, provided that, assuming, as long as, suppose that, so long as",
    Kind.ONLY_IF: "only if, only when, only in case, just in case",
    Kind.BECAUSE: "because, since, cause, cuz, bc, due to, as i, as we, as it, given that, seeing that",
    Kind.PAST: """last job, previous job, previous one, prior run, prior job, earlier run, earlier job, one before,
        last time, yesterday, previously, earlier, last week, last night, last month, last year, last run, the last
        run, in the past, ago, formerly, first run, the first run, previous run, the previous run, was, were, had,
        did, took, gave, ran, went, came, got us, reached, reached only, achieved, yielded, made, failed, crashed,
        last one, before that, back then, used to, initially, originally, first i wanted, i wanted, we wanted,
        seemed, kept, turned out, this morning, last search, last sweep, previous search, earlier search, last hpo,
        previous hpo, last automl, last tuning, resulted, produced, ended, wasnt, were not, i know that, i know, i
        understand that, i am aware that, i m aware that, usually, typically, improved, helped, led to, hurt,
        wasted, beat, performed better, performed worse""",
    Kind.PAST_VERB: """trained, tuned, searched, used, disabled, enabled, turned, switched, found, tried,
        optimized, optimised, skipped, did, launched, started, got, finished, completed, wanted, asked for, asked,
        needed""",
    Kind.WHO: "i, we, you, he, she, they, someone, somebody, who, everybody, colleague, boss",
    Kind.LATER: """later, tomorrow, next week, next month, next time, afterwards, after that, some other time,
        another time, another day, in the future, next run, eventually, some day, someday, after this run, soon,
        tonight, until later""",
    Kind.NOW: """this week, this month, now, today, this time, for now, right now, at the moment, for the moment,
        at this point, currently, this run, for this run, for this one, in this run, for the time being, here and
        now, on this run, this round, for once, just this time, for today, presently""",
    Kind.CORRECT: """actually, sorry, wait, scratch that, on second thought, on second thoughts, changed my mind,
        no wait, correction, hang on, hold on, oops, instead, i mean, i take that back, strike that, forget that,
        forget it, oh no, oh wait, rather, anyway, after all, finally, in the end, better still, oh""",
    Kind.ALREADY: """is over, are over, are done, already, beforehand, been done, been run, been tuned, is done,
        was done, are tuned, is finished""",
    Kind.BAD: """slow, bad, worse, worst, useless, overkill, boring, wasteful, risky, fails, failing, broken,
        wrong, buggy, too slow, too expensive, too much, forever, takes, costs, cost, eats, overfits, scares,
        annoying, annoys, worthless, terrible, awful, takes too long, a waste of time, waste of time, no good,
        unreliable, doubt, distrust, sucks, senseless, nonsensical, excessive, too costly, no gain, no point, weak,
        too weak, poor, insufficient, disappointing, low""",
    Kind.GOOD: """great, fine, good, perfect, nice, love, loved, excellent, awesome, cool, fun, recommended, ideal,
        alright, appreciated, appreciate, trust, favour, favor, favorite, favourite, important, essential, crucial,
        encouraged, possible, available, ready, best, better, enough, sufficient, the way to go, worth it, super,
        amazing, key""",
    Kind.OR: "or, and or, versus, vs",
    Kind.AND: "and, plus, as well as",
    Kind.BREAK: """even if, even when, even though, but, then, so, however, though, although, while, whereas,
        therefore, thus, hence, otherwise, still use, and then, and so, just that, meaning, i e, e g, namely""",
    Kind.THAT: "that, which, whose, where",
    Kind.ENOUGH: "genugt, reicht, basta, suffit, enough, sufficient, good enough, suffice, ok enough, acceptable",
    Kind.RESULT: """found, chosen, suggested, returned, selected, determined, recommended, discovered, winning,
        winner""",
}
